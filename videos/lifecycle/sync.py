"""What the upstream says of a render becomes what the job's caller sees."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet
from rest_framework import status
from rest_framework.exceptions import APIException

from upstreams.breaker import heeding
from upstreams.client import errors
from upstreams.client.types import Phase, Video
from upstreams.clock import database_now, in_database
from upstreams.registry import Upstream
from videos.lifecycle.backoff import sync_after
from videos.lifecycle.expiry import LATE_SECONDS, end_patience, hear
from videos.lifecycle.submit import fail
from videos.models import Job, Provider, Submission, locked
from videos.queue.wake import wake
from videos.states import JOB_OPEN, LIVE, CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)

_PAGES_MOST = 50
# Asked for one by one in a sweep, at most.
_STRAGGLERS_MOST = 20
# A caller waits for the answer.
_ASK_NOW_SECONDS = 10
_ASK_AGAIN_SECONDS = 5
_MISSING_LOOKS = 3
_MISSING_SECONDS = 120


def sweep(upstream: Upstream) -> None:
    """Asks after all renders of the provider that are due, by list pages rather than one by one."""
    provider = upstream.provider()
    if provider.left_alone_for():
        return
    leased = Provider.objects.filter(
        Q(sweep_due_at__isnull=True) | Q(sweep_due_at__lte=in_database()), pk=provider.pk
    ).update(sweep_due_at=in_database(upstream.lease))
    if not leased:
        return
    pause = 0.0
    try:
        rendering = list(swept_by(upstream, provider).select_related("job"))
        if rendering and not _sweep(rendering, upstream):
            # Those that have not had their turn stay due.
            pause = _ASK_AGAIN_SECONDS
    finally:
        Provider.objects.filter(pk=provider.pk).update(sweep_due_at=in_database(pause))


def swept_by(upstream: Upstream, provider: Provider) -> QuerySet[Submission]:
    """The renders that a sweep asks after; not what is to be stopped upstream, which stays due for that."""
    rendering = Submission.objects.filter(provider=provider, state=SubmissionState.RENDERING)
    return rendering.exclude(job__status=JobStatus.CANCELLED) if upstream.dialect.cancels else rendering


def _sweep(rendering: Sequence[Submission], upstream: Upstream) -> bool:
    """Whether the list could be read, if there is one."""
    now = database_now()
    mine = {submission.upstream_id: submission for submission in rendering if submission.upstream_id}
    seen: dict[str, Video] = {}
    failed = False
    try:
        if upstream.dialect.lists:
            with heeding(upstream):
                for videos in _pages(mine, upstream):
                    seen |= videos
    except errors.SoraError as error:
        # A poll that fails says nothing about the renders that it has not shown by then.
        logger.warning("%s could not be asked after its renders: %s", upstream.name, error)
        failed = True
    # First what the list shows: one video that cannot be asked after must not hide the others.
    _observe_listed(mine, seen)
    unseen = [each for each in rendering if each.upstream_id not in seen]
    due = [each for each in unseen if (each.due_at or now) <= now]
    due.sort(key=lambda each: each.due_at or now)
    asked = _ask_stragglers(due[:_STRAGGLERS_MOST], upstream, away=failed)
    for submission in unseen:
        # Who was not asked after in particular is without an answer only where the list failed.
        if not asked.get(submission.pk, not failed):
            hear(submission, False, now)
    _ask_again([*(mine[video_id] for video_id in seen), *(each for each in due if each.pk in asked)], now)
    return not failed


def _ask_stragglers(due: Iterable[Submission], upstream: Upstream, *, away: bool) -> dict[int, bool]:
    """Asks after each by itself; whether there was an answer, by the keys of those that were asked after.

    Where the upstream seems to be away, or wants to be left alone, the first without an answer is the last.
    """
    answered: dict[int, bool] = {}
    for submission in due:
        if upstream.provider().left_alone_for():
            break
        try:
            ask(submission, upstream)
            answered[submission.pk] = True
        except errors.SoraError as error:
            logger.warning("%s could not be asked after: %s", submission, error)
            answered[submission.pk] = False
            if away:
                break
    return answered


def _observe_listed(mine: dict[str, Submission], seen: dict[str, Video]) -> None:
    _write_progress(
        (mine[video_id], video) for video_id, video in seen.items() if video.phase == Phase.RUNNING
    )
    now = database_now()
    for video_id, video in seen.items():
        waited_out = mine[video_id].give_up_at <= now
        if video.phase != Phase.RUNNING or waited_out:
            with locked(mine[video_id]) as (job, submission):
                observe(job, submission, video)


def _pages(mine: dict[str, Submission], upstream: Upstream) -> Iterator[dict[str, Video]]:
    """Those of our videos that each page of the list shows, back to the oldest of them. Raises SoraError."""
    oldest = min(submission.created_at for submission in mine.values())
    start = oldest.replace(microsecond=0) - timedelta(seconds=settings.SORA_CLOCK_SKEW)
    seen: set[str] = set()
    after: str | None = None
    for _ in range(_PAGES_MOST):
        page = upstream.client.list(after=after, limit=100, order="desc")
        videos = {video.id: video for video in page.videos if video.id in mine}
        yield videos
        seen |= videos.keys()
        after = page.next_after
        past = any(video.created_at is not None and video.created_at < start for video in page.videos)
        if after is None or past or len(seen) == len(mine):
            return


def _write_progress(running: Iterable[tuple[Submission, Video]]) -> None:
    """Writes only what changed, one statement per percentage. Progress never goes backwards."""
    jobs_at: dict[int, list[UUID]] = defaultdict(list)
    found = []
    for submission, video in running:
        if submission.missing_looks or submission.silent_since is not None:
            found.append(submission.pk)
        if video.progress is not None and video.progress > submission.job.progress:
            # 100 is said once the file is here.
            jobs_at[min(video.progress, 99)].append(submission.job_id)
    for progress, jobs in jobs_at.items():
        Job.objects.filter(pk__in=jobs, status=JobStatus.PROCESSING, progress__lt=progress).update(
            progress=progress, updated_at=in_database()
        )
    if found:
        Submission.objects.filter(pk__in=found).update(missing_looks=0, missing_since=None, silent_since=None)


def _ask_again(rendering: Iterable[Submission], began: datetime) -> None:
    """Sets when each is asked after again, one statement per pace.

    What a hint made due since the sweep began stays due: the sweep may have read it before that.
    """
    now = database_now()
    due: dict[float, list[int]] = defaultdict(list)
    for submission in rendering:
        pace = sync_after((now - submission.created_at).total_seconds())
        # To the whole second, so that there are few different ones.
        due[round(pace) or pace].append(submission.pk)
    for after, pks in due.items():
        still = Submission.objects.filter(pk__in=pks, state=SubmissionState.RENDERING, missing_looks=0)
        still.exclude(due_at__gt=began, due_at__lte=in_database()).update(due_at=in_database(after))


def ask(submission: Submission, upstream: Upstream, *, deadline: float | None = None) -> None:
    """Asks the upstream after one submission and records the answer. Raises SoraError without one."""
    assert submission.upstream_id is not None
    try:
        with heeding(upstream):
            video = upstream.client.retrieve(submission.upstream_id, deadline=deadline)
    except errors.NotFound:
        with locked(submission) as (job, submission):
            _observe_missing(job, submission)
        return
    with locked(submission) as (job, submission):
        if video.phase == Phase.RUNNING:
            _write_progress([(submission, video)])
        observe(job, submission, video)


class NotSyncable(APIException):
    """409: the job has ended."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "job_not_syncable"

    def __init__(self, job: Job) -> None:
        super().__init__(f"The job is {job.status}; there is nothing more to ask the upstream.")
        self.extra = {"status": job.status}


class UpstreamUnavailable(APIException):
    """503: the upstream does not answer; nothing is lost."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "upstream_unavailable"

    def __init__(self, error: errors.SoraError) -> None:
        super().__init__(
            f"The upstream does not answer now; the job goes on by itself. ({type(error).__name__})"
        )
        self.wait = getattr(error, "retry_after", None) or _ASK_AGAIN_SECONDS


def ask_now(job: Job, upstream: Upstream) -> None:
    """Asks the upstream after a caller's job, if it has it. Raises NotSyncable, UpstreamUnavailable."""
    if job.status not in JOB_OPEN:
        raise NotSyncable(job)
    submission = job.submissions.filter(state=SubmissionState.RENDERING, provider__name=upstream.name).first()
    if submission is None:
        wake("look")
        return
    try:
        if left := upstream.provider().left_alone_for():
            raise errors.Busy("The upstream asked to be left alone.", retry_after=left)
        ask(submission, upstream, deadline=_ASK_NOW_SECONDS)
    except errors.SoraError as error:
        raise UpstreamUnavailable(error) from error


def observe(job: Job, submission: Submission, video: Video) -> None:
    """Records that a video has ended, or that it runs past our patience.

    Called under the job's lock; what is already known changes nothing.
    """
    if video.phase == Phase.RUNNING:
        end_patience(job, submission)
    elif video.phase == Phase.COMPLETED:
        _observe_completed(job, submission, video)
    else:
        _observe_failed(job, submission, video)


def _observe_completed(job: Job, submission: Submission, video: Video) -> None:
    if job.status == JobStatus.CANCELLED:
        submission.move(
            SubmissionState.DROPPED,
            only_from=[SubmissionState.RENDERING],
            detail={"upstream": video.status},
            cost_state=CostState.SETTLED,
        )
        return
    if submission.state == SubmissionState.GIVEN_UP and not _late_success_wanted(job):
        Submission.objects.filter(pk=submission.pk).update(due_at=None)
        return
    now = database_now()
    if submission.move(
        SubmissionState.RENDERED,
        cost_state=CostState.SETTLED,
        due_at=now,
        rendered_at=now,
        expires_at=video.expires_at,
        looks=0,
        missing_since=None,
        missing_looks=0,
        silent_since=None,
        give_up_at=now + timedelta(seconds=settings.JOB_GIVE_UP_AFTER),
    ):
        wake("look")


def _late_success_wanted(job: Job) -> bool:
    """A given-up render that finished is kept where its job failed of just that and nothing runs for it."""
    return (
        job.status == JobStatus.FAILED
        and job.error_code == "gave_up"
        and not job.submissions.filter(state__in=LIVE).exists()
    )


def _observe_failed(job: Job, submission: Submission, video: Video) -> None:
    cost = CostState.SETTLED if settings.SORA_BILLS_FAILED else CostState.RELEASED
    detail = {"upstream": video.status}
    if submission.state == SubmissionState.DROPPING or job.status == JobStatus.CANCELLED:
        if video.phase == Phase.EXPIRED:
            cost = CostState.SETTLED
        submission.move(SubmissionState.DROPPED, detail=detail, cost_state=cost)
        return
    code = video.error.code if video.error else f"upstream_{video.phase}"
    message = (video.error.message if video.error else "") or f"The upstream says {video.status}."
    if submission.state == SubmissionState.GIVEN_UP:
        Submission.objects.filter(pk=submission.pk).update(due_at=None)
    elif submission.move(
        SubmissionState.FAILED, detail=detail, cost_state=cost, error_code=code, error_message=message
    ):
        if video.phase == Phase.CANCELLED:
            job.move(JobStatus.CANCELLED, detail={"by": "upstream"}, cancelled_at=database_now())
        else:
            fail(job, code, message)


def _observe_missing(job: Job, submission: Submission) -> None:
    """Its id is unknown upstream: lost after three such looks over two minutes. Under the job's lock."""
    if submission.state not in {SubmissionState.RENDERING, SubmissionState.GIVEN_UP}:
        return
    now = database_now()
    since: datetime = submission.missing_since or now
    looks = submission.missing_looks + 1
    if looks < _MISSING_LOOKS or (now - since).total_seconds() < _MISSING_SECONDS:
        Submission.objects.filter(pk=submission.pk).update(
            missing_since=since,
            missing_looks=looks,
            due_at=now + timedelta(seconds=_MISSING_SECONDS / (_MISSING_LOOKS - 1)),
        )
        return
    if submission.state == SubmissionState.GIVEN_UP:
        # Nothing will come of it, and it counts as paid already.
        Submission.objects.filter(pk=submission.pk).update(due_at=None)
        return
    if job.status == JobStatus.CANCELLED:
        submission.move(SubmissionState.DROPPED, detail={"upstream": "unknown"}, cost_state=CostState.SETTLED)
        return
    reason = "The upstream no longer knows the video that it accepted."
    if submission.move(
        SubmissionState.LOST, cost_state=CostState.SETTLED, error_code="upstream_lost", error_message=reason
    ):
        fail(job, "upstream_lost", reason)


def ask_late(submission: Submission, upstream: Upstream) -> None:
    """Looks whether a given-up render finished after all, for as long again as it was waited for."""
    if not submission.claim_due(LATE_SECONDS):
        return
    if (database_now() - submission.give_up_at).total_seconds() > settings.JOB_GIVE_UP_AFTER:
        Submission.objects.filter(pk=submission.pk, state=SubmissionState.GIVEN_UP).update(due_at=None)
        return
    ask(submission, upstream)
