"""A video that is made from another one is made where that is, and is never paid twice."""

from typing import Final

from tests.faults.guards.guard import Guard

_TESTS: Final = "tests/from_source/test_made.py"
_UNDECIDED: Final = "tests/from_source/test_undecided.py"
GUARDS: Final = (
    Guard(
        "no other upstream is sent what is made from a video",
        "upstreams.offer.from_source:fit_from_source",
        "source.upstream != name",
        "False",
        _TESTS,
    ),
    Guard(
        "an operation that the upstream does not have is refused",
        "videos.lifecycle.from_source:create_from",
        "operation not in operations",
        "False",
        _TESTS,
    ),
    Guard(
        "what the upstream has no more is made into nothing",
        "videos.lifecycle.from_source:_rendered_source",
        "last.expires_at <= database_now()",
        "False",
        _TESTS,
    ),
    Guard(
        "an id that names another video by now is no source",
        "videos.lifecycle.from_source:_rendered_source",
        "id_reused=False",
        "upstream_id__gt=''",
        _TESTS,
    ),
    Guard(
        "the price of a new video is not that of another operation",
        "upstreams.offer.catalogue:Model.cost_from_source",
        "self.operation_prices",
        "self.prices",
        _TESTS,
    ),
    Guard(
        "a list proves no edit absent",
        "videos.reconciliation.absence:needs_person",
        "not is_compared(submission)",
        "False",
        _TESTS,
    ),
    Guard(
        "an edit is not looked for by the fields of a new video",
        "upstreams.client.dialects.dialect:Dialect.match_key",
        "source.operation not in COMPARED_OPERATIONS",
        "False",
        "tests/sora/test_dialects.py",
    ),
    Guard(
        "a remix is not taken for a new video of the same fields",
        "upstreams.client.dialects.dialect:Dialect.match_key",
        "echoed and remixed_from is not None",
        "False",
        _TESTS,
    ),
    Guard(
        "a retry is made from the same video",
        "videos.routing.refit:asked_of",
        "source=_source_of(job)",
        "source=None",
        _TESTS,
    ),
    Guard(
        "what is made from a video explains it by its time",
        "videos.reconciliation.restored.books:_unexplained",
        "[each for each in attempts if not is_compared(each)]",
        "[]",
        _UNDECIDED,
    ),
    Guard(
        "no video is taken that may be that of an edit",
        "videos.reconciliation.reconcile:reconcile",
        "has_rival(submission)",
        "False",
        _UNDECIDED,
    ),
    Guard(
        "a recovery gives no video of an edit to a new job",
        "videos.routing.awaited:awaited",
        "from_source.filter(fitted__prompt__in=prompts)",
        "from_source.none()",
        _UNDECIDED,
    ),
    Guard(
        "a recovery gives a job no video of which there are two that could be its",
        "videos.reconciliation.restored.recovery:plan",
        "could_be[job.pk] == 1",
        "True",
        _UNDECIDED,
    ),
    Guard(
        "a source is looked at once more before anything is made from it",
        "videos.lifecycle.sending.post:_request",
        "problem_of_source(submission, request, upstream)",
        "''",
        _UNDECIDED,
    ),
    Guard(
        "nobody makes anything from a video of another owner",
        "videos.api.from_source:FromSource._create_from",
        "self.get_object()",
        'Job.objects.get(pk=self.kwargs["pk"])',
        "tests/api/test_ownership.py -k remixVideo",
    ),
)
