"""Decisions of an operator, if the upstream's list cannot decide."""

import logging
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError

from upstreams import registry
from upstreams.client import errors
from upstreams.client.types import Video
from upstreams.client.values import usable_id
from upstreams.clock import database_now
from upstreams.registry import Upstream
from videos.lifecycle.outcomes import accept, fail
from videos.models import JobEvent, Submission, locked
from videos.queue.wake import wake
from videos.reconciliation.absence import record_absent
from videos.reconciliation.compared import contradicts
from videos.reconciliation.listing import attempted
from videos.states import LIVE, CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)

_S = SubmissionState
_BY = "operator"


class Refused(Exception):
    """The decision is refused. Says why and what to do."""


def submission_named(name: str) -> Submission:
    """The submission that the log calls `<job id>/<number>`. Raises Refused."""
    job_id, _, number = name.partition("/")
    try:
        return Submission.objects.select_related("job", "provider").get(job=UUID(job_id), number=int(number))
    except ValueError:
        raise Refused(f"{name!r} is not of the form <job id>/<number>, as the log prints it.") from None
    except Submission.DoesNotExist:
        raise Refused(
            f"There is no submission {name}; `manage.py undecided` lists those that wait."
        ) from None


def adopt(submission: Submission, upstream_id: str, *, force: bool = False) -> bool:
    """Gives a submission without an id this video of the upstream; False if it already has it.

    Raises Refused. `force` takes a video that shows other fields or another date, and then ends the trust in
    the list, as accept does.
    """
    upstream = registry.configured().get(submission.provider.name)
    if upstream is None:
        raise Refused(f"It was sent to {submission.provider}, which is not configured.")
    if submission.upstream_id == upstream_id:
        return False
    if submission.provider.unrecognized_at is not None:
        raise Refused(
            f"{upstream.name} is not the upstream that we know, so its word counts for nothing: "
            f"{submission.provider.unrecognized_reason}."
        )
    if usable_id(upstream_id) is None:
        raise Refused(f"{upstream_id!r} cannot be an upstream's id.")
    try:
        video = upstream.client.retrieve(upstream_id)
    except errors.NotFound:
        raise Refused(f"{upstream.name} knows no video {upstream_id}; look for its id there.") from None
    except errors.SoraError as error:
        raise Refused(f"{upstream.name} could not be asked, try again: {error}") from error
    if video.id != upstream_id:
        raise Refused(f"{upstream.name} answers with {video.id}, although {upstream_id} was asked for.")
    try:
        with locked(submission) as (job, submission):
            if submission.upstream_id == upstream_id:
                return False
            _check_adoptable(submission, video, upstream, force=force)
            before = submission.state
            accept(job, submission, video, upstream, how="adopted", by=_BY)
            submission.refresh_from_db(fields=["upstream_id"])
            if submission.upstream_id != upstream_id:
                # Refused by accept, which has looked after _check_adoptable did.
                raise IntegrityError
            if before == _S.GIVEN_UP:
                # It moves only once the upstream says what became of it.
                detail = {"upstreamId": upstream_id, "how": "adopted", "by": _BY}
                JobEvent.record(
                    job,
                    "submission",
                    before,
                    before,
                    database_now(),
                    number=submission.number,
                    detail=detail,
                )
            wake("dispatch")
    except IntegrityError:
        raise Refused(f"{upstream_id} was given to another submission in this moment.") from None
    return True


def _check_adoptable(submission: Submission, video: Video, upstream: Upstream, *, force: bool) -> None:
    if submission.upstream_id is not None:
        raise Refused(f"{submission} has the id {submission.upstream_id}; it cannot have another.")
    if submission.state not in {_S.UNKNOWN, _S.ABSENT, _S.GIVEN_UP}:
        raise Refused(f"{submission}: only what is unknown, absent or given up can be given an id.")
    owner = Submission.objects.filter(
        provider=submission.provider_id, upstream_id=video.id, id_reused=False
    ).first()
    # A video of another date is a new one under its id. If the owner's has no date, an operator may say so.
    if owner is not None and owner.owns(video) and not (force and owner.upstream_created_at is None):
        raise Refused(f"{video.id} belongs to {owner}.")
    if owner is not None and owner.state in LIVE:
        raise Refused(f"{video.id} is the id of {owner} as well, which has not ended; try again once it has.")
    if force:
        return
    if contradicts(video, submission, upstream.dialect):
        raise Refused(f"{video.id} is not what {submission} asked for; if it is all the same, say --force.")
    if video.created_at is not None and not _made_by(submission, video.created_at):
        raise Refused(
            f"{video.id} was made at {video.created_at:%Y-%m-%d %H:%M:%S}, outside the attempt {submission}; "
            "if it is its video all the same, say --force."
        )


def _made_by(submission: Submission, made: datetime) -> bool:
    """Whether a match of this date belongs to this attempt, and not to an earlier or later one."""
    start, end = attempted(submission)
    alike = Submission.objects.filter(
        provider=submission.provider_id,
        match_key=submission.match_key,
        created_at__gt=submission.created_at,
    )
    following = alike.order_by("created_at").first()
    return start <= made and (made <= end or following is None or made < attempted(following)[0])


def declare_absent(submission: Submission) -> bool:
    """Records an operator's word that it was not accepted, and returns its cost to the job. Raises Refused.

    Returns whether its job still waits, and so is sent and paid again.
    """
    with locked(submission) as (job, submission):
        if not record_absent(job, submission, how="declared", by=_BY):
            raise Refused(f"{submission}: only what is unknown can be declared absent.")
        return job.status == JobStatus.PENDING


def declare_lost(submission: Submission) -> None:
    """Takes an operator's word that it was accepted and is lost upstream: it counts as paid. Raises Refused.

    A job that still waits fails; a retry sends, and pays for, another attempt.
    """
    with locked(submission) as (job, submission):
        detail = {"how": "lost", "by": _BY}
        if not submission.move(
            _S.GIVEN_UP, only_from=[_S.UNKNOWN], detail=detail, cost_state=CostState.SETTLED
        ):
            raise Refused(f"{submission}: only what is unknown can be declared lost.")
        fail(job, "upstream_lost", "The upstream no longer knows the video that it accepted.")
