"""What an operator decides where the upstream's list cannot."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q

from upstreams.breaker import is_open
from upstreams.client import errors
from upstreams.client.types import Video, usable_id
from upstreams.clock import database_now, in_database
from upstreams.registry import Upstream
from videos.lifecycle.submit import accept
from videos.models import Job, JobEvent, Provider, Submission, locked
from videos.queue.wake import wake
from videos.reconciliation.listing import attempted, may_be_its, unowned, walk
from videos.states import CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)

_S = SubmissionState
_BY = "operator"


class Refused(Exception):
    """The decision cannot be taken; says why and what to do."""


def named(name: str) -> Submission:
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


def adopt(submission: Submission, upstream_id: str, upstream: Upstream, *, force: bool = False) -> bool:
    """Gives a submission without an id this one of the upstream's videos; False if it has it already.

    Raises Refused. `force` takes a video that echoes or dates the create otherwise, and then ends the trust
    in the list, as accept does.
    """
    if submission.provider.name != upstream.name:
        raise Refused(f"It was sent to {submission.provider}; the configured upstream is {upstream.name}.")
    if submission.upstream_id == upstream_id:
        return False
    if usable_id(upstream_id) is None:
        raise Refused(f"{upstream_id!r} cannot be an upstream's id.")
    try:
        video = upstream.client.retrieve(upstream_id)
    except errors.NotFound:
        raise Refused(f"{upstream.name} knows no video {upstream_id}; look for its id there.") from None
    except errors.SoraError as error:
        raise Refused(f"{upstream.name} could not be asked, try again: {error}") from error
    if video.id != upstream_id:
        raise Refused(f"{upstream.name} answers with {video.id} where {upstream_id} was asked for.")
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
            wake("look")
    except IntegrityError:
        raise Refused(f"{upstream_id} was given to another submission in this moment.") from None
    return True


def _check_adoptable(submission: Submission, video: Video, upstream: Upstream, *, force: bool) -> None:
    if submission.upstream_id is not None:
        raise Refused(f"{submission} has the id {submission.upstream_id}; it cannot have another.")
    if submission.state not in {_S.UNKNOWN, _S.ABSENT, _S.GIVEN_UP}:
        raise Refused(f"{submission}: only what is unknown, absent or given up can be given an id.")
    owner = Submission.objects.filter(provider=submission.provider_id, upstream_id=video.id).first()
    if owner is not None:
        raise Refused(f"{video.id} belongs to {owner}.")
    if force:
        return
    if upstream.dialect.match_key(video) != submission.match_key:
        raise Refused(f"{video.id} is not what {submission} asked for; if it is all the same, say --force.")
    if video.created_at is not None and not _made_by(submission, video.created_at):
        raise Refused(
            f"{video.id} was made at {video.created_at:%Y-%m-%d %H:%M:%S}, outside the attempt {submission}; "
            "if it is its video all the same, say --force."
        )


def _made_by(submission: Submission, made: datetime) -> bool:
    """Whether a match of this date is this attempt's rather than that of an earlier or a later one."""
    start, end = attempted(submission)
    alike = Submission.objects.filter(
        provider=submission.provider_id,
        match_key=submission.match_key,
        created_at__gt=submission.created_at,
    )
    following = alike.order_by("created_at").first()
    return start <= made and (made <= end or following is None or made < attempted(following)[0])


def declare_absent(submission: Submission) -> bool:
    """Takes an operator's word that it was not accepted: its cost is returned. Raises Refused.

    Says whether its job still waits, and so is sent and paid again.
    """
    with locked(submission) as (job, submission):
        detail = {"how": "declared", "by": _BY}
        if not submission.move(_S.ABSENT, cost_state=CostState.RETURNED, detail=detail):
            raise Refused(f"{submission}: only what is unknown can be declared absent.")
        waits = job.status == JobStatus.PENDING
        if waits:
            Job.objects.filter(pk=job.pk).update(due_at=in_database())
            wake("submit")
        return waits


def stop(name: str, reason: str) -> None:
    """Has nothing more sent to a provider until it is resumed; what was sent is followed to its end.

    Jobs go on being accepted. A claim that is being committed just now is the last. Raises Refused.
    """
    found = Provider.objects.filter(name=name).update(stopped_at=in_database(), stop_reason=reason)
    if not found:
        raise Refused(_no_provider(name))


def _no_provider(name: str) -> str:
    known = ", ".join(Provider.objects.order_by("name").values_list("name", flat=True)) or "none yet"
    return f"There is no provider {name!r}; there are: {known}."


def resume(name: str, *, trust_list: bool = False) -> list[str]:
    """Ends what holds a provider back, and a distrust of its list if told so; says what there was.

    Raises Refused.
    """
    with transaction.atomic(durable=True):
        provider = Provider.objects.select_for_update().filter(name=name).first()
        if provider is None:
            raise Refused(_no_provider(name))
        ended = restraints(provider)
        changes: dict[str, object] = {
            "stopped_at": None,
            "stop_reason": "",
            "paused_at": None,
            "pause_reason": "",
            "probe_due_at": None,
            "held_until": None,
            "hold_reason": "",
            "left_alone_until": None,
            "failures": 0,
        }
        if trust_list:
            changes["proves_absence"] = True
        else:
            ended = [each for each in ended if each != _DISTRUST]
        Provider.objects.filter(pk=provider.pk).update(**changes)
        wake("look")
    return ended


_DISTRUST = "its list is not trusted to prove absence"


def restraints(provider: Provider) -> list[str]:
    """What holds a provider back, in words."""
    found = []
    if provider.stopped_at is not None:
        found.append(f"stopped since {provider.stopped_at:%Y-%m-%d %H:%M:%S}: {provider.stop_reason}")
    if provider.paused_at is not None:
        found.append(f"paused since {provider.paused_at:%Y-%m-%d %H:%M:%S}: {provider.pause_reason}")
    if provider.held_until is not None and provider.is_held():
        found.append(f"held until {provider.held_until:%Y-%m-%d %H:%M:%S}: {provider.hold_reason}")
    if provider.left_alone_until is not None and provider.left_alone_for():
        found.append(f"asked nothing until {provider.left_alone_until:%Y-%m-%d %H:%M:%S}, as it wished")
    if is_open(provider):
        found.append(f"one create at a time after {provider.failures} failures in a row")
    if not provider.proves_absence:
        found.append(_DISTRUST)
    return found


@dataclass(frozen=True, slots=True)
class Undecided:
    """A submission that waits for a person, with the videos of its time that nobody owns."""

    submission: Submission
    age: timedelta
    candidates: tuple[Video, ...]
    # Whether the list was read back to it.
    searched: bool


def undecided(upstream: Upstream) -> Iterator[Undecided]:
    """The submissions that are unknown past their window, oldest first."""
    now = database_now()
    window = timedelta(seconds=settings.SORA_RECONCILE_SECONDS[-1])
    # Without a due_at nobody looks: the dialect has no list.
    waiting = Submission.objects.filter(
        Q(due_at__isnull=True) | Q(unknown_at__lte=now - window), state=_S.UNKNOWN
    )
    found = list(waiting.select_related("job", "provider").order_by("created_at"))
    mine = [each for each in found if each.provider.name == upstream.name]
    listed, searched = _listed(upstream, mine) if mine and upstream.dialect.lists else ({}, False)
    for submission in found:
        if submission not in mine:
            yield Undecided(submission, now - submission.created_at, (), searched=False)
            continue
        possible = {
            video.id: video for video in listed.values() if may_be_its(video, submission, upstream.dialect)
        }
        candidates = unowned(submission.provider, possible)
        yield Undecided(submission, now - submission.created_at, candidates, searched)


def _listed(upstream: Upstream, waiting: list[Submission]) -> tuple[dict[str, Video], bool]:
    """What the list shows within AUDIT_PAGES, and whether that is all back to the oldest of them."""
    start = min(attempted(each)[0] for each in waiting)
    listed: dict[str, Video] = {}
    try:
        for page in walk(upstream, most=settings.AUDIT_PAGES):
            listed |= {video.id: video for video in page.videos}
            if page.fault:
                break
            if page.ended or (page.back_to is not None and page.back_to < start):
                return listed, True
    except errors.SoraError as error:
        logger.warning("The list of %s could not be read: %s", upstream.name, error)
    return listed, False
