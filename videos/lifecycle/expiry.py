"""When we stop waiting: never before the upstream was asked once more, or has been silent for an hour."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from upstreams.clock import database_now, in_database
from upstreams.registry import Upstream
from videos.lifecycle.outcomes import fail
from videos.models import Job, Submission, locked
from videos.queue.isolation import isolated
from videos.states import CostState, SubmissionState

# Between attempts at a render that was given up, which may finish after all.
LATE_SECONDS = 3600
_SILENCE_SECONDS = 3600
_S = SubmissionState
_WAITING = [_S.UNKNOWN, _S.RENDERING, _S.RENDERED, _S.DROPPING]


def record_contact(submission: Submission, answered: bool, now: datetime) -> None:
    """Notes whether the upstream gave an answer about the submission."""
    if answered and submission.silent_since is not None:
        Submission.objects.filter(pk=submission.pk).update(silent_since=None)
    elif not answered and submission.silent_since is None:
        Submission.objects.filter(pk=submission.pk).update(silent_since=now)


def give_up_expired(upstream: Upstream) -> None:
    """Ends our patience with what is past its time and cannot be asked after.

    What still answers is asked first, and ended by who asked: after a downtime of ours, the upstream may have
    finished long ago.
    """
    silent = Q(state__in=[_S.UNKNOWN, _S.RENDERING], silent_since__lte=in_database(-_SILENCE_SECONDS))
    unlisted = Q(state=_S.UNKNOWN, due_at__isnull=True)
    fruitless = Q(
        state__in=[_S.RENDERED, _S.DROPPING], give_up_at__lte=in_database(-_SILENCE_SECONDS - upstream.lease)
    )
    not_ours_to_ask = ~Q(provider__name=upstream.name)
    past = Submission.objects.filter(state__in=_WAITING, give_up_at__lte=in_database())
    for late in past.filter(silent | unlisted | fruitless | not_ours_to_ask):
        with isolated(late), locked(late) as (job, submission):
            give_up_if_expired(job, submission)


def give_up_if_expired(job: Job, submission: Submission) -> None:
    """Gives up a submission past its time; what it cost counts as paid. Called under the job's lock."""
    now = database_now()
    if submission.state not in _WAITING or submission.give_up_at > now:
        return
    hours = f"{settings.JOB_GIVE_UP_AFTER / 3600:g} hours"
    match submission.state:
        case _S.UNKNOWN | _S.RENDERING:
            again = now + timedelta(seconds=LATE_SECONDS) if submission.upstream_id else None
            if submission.move(_S.GIVEN_UP, cost_state=CostState.SETTLED, due_at=again):
                fail(job, "gave_up", f"The upstream did not finish it within {hours}.")
        case _S.RENDERED:
            if submission.move(_S.LOST, cost_state=CostState.SETTLED, error_code="result_lost"):
                fail(
                    job, "result_lost", f"The video was rendered; its file could not be kept within {hours}."
                )
        case _S.DROPPING:
            submission.move(_S.DROPPED, cost_state=CostState.SETTLED)
