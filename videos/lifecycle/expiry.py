"""Giving up: after JOB_GIVE_UP_AFTER of work, and a last answer or an hour of failed polls."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import (
    Case,
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.expressions import Combinable

from upstreams import registry
from upstreams.clock import JUST_WRITTEN, database_now, in_database
from videos.lifecycle.outcomes import fail
from videos.lifecycle.working_time import has_worked_until
from videos.models import Job, Submission, locked
from videos.queue.isolation import isolated
from videos.states import CostState, SubmissionState

# The file came as a whole, and is no video: there is no use in fetching it again.
UNPLAYABLE = "unplayable"
# Between polls of a render that was given up and may still finish.
LATE_SECONDS = 3600
_SILENCE = timedelta(hours=1)
# Of the time between two failed attempts no more counts, so an hour of silence is at least five of them.
_ATTEMPT_COUNTS_FOR = timedelta(minutes=15)
_NOTED_EVERY = timedelta(seconds=20)
_S = SubmissionState
_WAITING = [_S.UNKNOWN, _S.RENDERING, _S.RENDERED, _S.DROPPING]


def record_contact(submission: Submission, answered: bool, now: datetime) -> None:
    """Records whether a poll or fetch got an answer about the submission or its file."""
    row = Submission.objects.filter(pk=submission.pk)
    if answered:
        if submission.silent_since is not None:
            row.update(silent_since=None, silent_at=None)
        return
    note_silence(row, now)


def note_silence(rows: QuerySet[Submission], now: datetime) -> None:
    """Records that a poll or fetch of these got no answer.

    A downtime of ours, or a clock that was set, is not the upstream's silence: silent_since is moved by it.
    """
    just_noted = Q(
        silent_since__isnull=False, silent_at__gt=now - _NOTED_EVERY, silent_at__lte=now + JUST_WRITTEN
    )
    counted = now - _ATTEMPT_COUNTS_FOR
    since = Case(
        When(Q(silent_since=None), then=Value(now)),
        When(silent_at__lt=counted, then=_moved_to(counted)),
        When(silent_at__gt=now, then=_moved_to(now)),
        default=F("silent_since"),
    )
    with transaction.atomic():
        # What another one holds is noted at the next attempt. So nothing waits for a row while it holds
        # others.
        free = rows.exclude(just_noted).select_for_update(of=("self",), skip_locked=True, no_key=True)
        Submission.objects.filter(pk__in=free.order_by().values("pk")).update(
            silent_since=since, silent_at=now
        )


def _moved_to(at: datetime) -> Combinable:
    """The beginning of a silence, moved by as much as its last attempt was before this time."""
    passed = ExpressionWrapper(Value(at) - F("silent_at"), output_field=DurationField())
    return ExpressionWrapper(F("silent_since") + passed, output_field=DateTimeField())


def is_silent(submission: Submission) -> bool:
    """Whether polls have failed for an hour, in a row and without a long gap."""
    since, last = submission.silent_since, submission.silent_at
    return since is not None and last is not None and last - since >= _SILENCE


def give_up_expired() -> None:
    """Gives up submissions that are past their deadline and cannot be polled.

    The others are polled first, and the poll gives them up: after a downtime of ours, the upstream may have
    finished long ago. A rendered file is given up only after a fetch that fails.
    """
    silent = Q(state__in=[_S.UNKNOWN, _S.RENDERING], silent_at__gte=F("silent_since") + _SILENCE)
    unlisted = Q(state=_S.UNKNOWN, due_at__isnull=True)
    names = [upstream.name for upstream in registry.configured()]
    not_ours_to_ask = ~Q(provider__name__in=names)
    past = Submission.objects.filter(state__in=_WAITING, give_up_at__lte=in_database())
    # Of what the wrong upstream was asked, nothing is given up.
    past = past.exclude(provider__name__in=names, provider__unrecognized_at__isnull=False)
    late_ones = past.filter(silent | unlisted | not_ours_to_ask)
    for late in late_ones.select_related("job", "provider"):
        with isolated(late), locked(late) as (job, submission):
            give_up_if_expired(job, submission)


def give_up_if_expired(job: Job, submission: Submission) -> None:
    """Gives up a submission past its deadline; its cost counts as paid. Called under the job's lock.

    Does nothing after a gap, because the next dispatch moves the deadline by it.
    """
    now = database_now()
    if submission.state not in _WAITING or submission.give_up_at > now:
        return
    if not has_worked_until(submission.provider, now):
        return
    hours = f"{settings.JOB_GIVE_UP_AFTER / 3600:g} hours"
    match submission.state:
        case _S.UNKNOWN | _S.RENDERING:
            again = now + timedelta(seconds=LATE_SECONDS) if submission.upstream_id else None
            if submission.move(_S.GIVEN_UP, cost_state=CostState.SETTLED, due_at=again):
                fail(job, "gave_up", f"The upstream did not finish it within {hours}.")
        case _S.RENDERED:
            # A retry goes on with what was given up, and renders what was lost again.
            expired = submission.expires_at is not None and submission.expires_at <= now
            to = _S.LOST if expired or submission.error_code == UNPLAYABLE else _S.GIVEN_UP
            if submission.move(to, cost_state=CostState.SETTLED, error_code="result_lost"):
                fail(
                    job, "result_lost", f"The video was rendered; its file could not be kept within {hours}."
                )
        case _S.DROPPING:
            submission.move(_S.DROPPED, cost_state=CostState.SETTLED, expires_at=now)
