"""Gives videos that are newer than our books to the jobs that they were made for, or declares them
foreign."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction

from upstreams.changes import Block, log_unblocked
from upstreams.client.types import Video
from upstreams.clock import database_now
from upstreams.models import ForeignVideo, Provider
from upstreams.registry import Upstream
from videos.lifecycle.outcomes import accept
from videos.lifecycle.sending.begin import begin
from videos.models import Job
from videos.models.reference import ROLES
from videos.queue.wake import wake
from videos.reconciliation.restored.books import BEHIND, forget_checks, newer_than_books
from videos.routing.awaited import awaited
from videos.routing.refit import fit_as_rendered
from videos.states import LIVE, JobStatus


@dataclass(frozen=True, slots=True)
class Recovery:
    """The plan of a recovery: each video with its job, and the videos without exactly one possible owner."""

    matched: tuple[tuple[Video, Job], ...]
    left: tuple[Video, ...]


def plan(upstream: Upstream) -> Recovery:
    """Matches the videos that are newer than our books with waiting jobs. Changes nothing. Raises SoraError.

    Matches by what was asked for, oldest first. If jobs of several owners asked for the same, none is
    matched, because the owner of the video is not known; nor if they asked for it with several pictures, or
    from several videos; nor if a job that is made from a video could be several of these.
    """
    provider = upstream.provider()
    videos: dict[str | None, list[Video]] = defaultdict(list)
    for video in newer_than_books(upstream, provider):
        videos[upstream.dialect.match_key(video)].append(video)
    matched: list[tuple[Video, Job]] = []
    left: list[Video] = []
    waiting = awaited((video for alike in videos.values() for video in alike), upstream)
    # How many of the videos each job could be.
    could_be: Counter[UUID] = Counter()
    for waited, jobs in waiting.items():
        could_be.update({job.pk: len(videos[waited]) for job in jobs})
    for key, alike in videos.items():
        jobs = waiting.get(key or "", [])
        is_certain = all(
            job.source_job is None or job.match_key == key or could_be[job.pk] == 1 for job in jobs
        )
        if is_certain and len({(job.owner_id, job.operation, *_made_of(job)) for job in jobs}) == 1:
            matched += zip(alike, jobs, strict=False)
            left += alike[len(jobs) :]
        else:
            left += alike
    return Recovery(tuple(matched), tuple(left))


def _made_of(job: Job) -> tuple[str | None, ...]:
    """Its pictures and the video that it is made from. No list shows them, so videos of jobs that differ only
    in them cannot be told apart."""
    return tuple(job.fitted.get(name) for name in (*ROLES, "source"))


def apply(upstream: Upstream, recovery: Recovery) -> int:
    """Gives the matched videos to their jobs as accepted submissions. Returns how many."""
    return sum(_give(job, video, upstream) for video, job in recovery.matched)


def _give(job: Job, video: Video, upstream: Upstream) -> bool:
    provider = upstream.provider()
    with transaction.atomic(durable=True):
        job = Job.lock(pk=job.pk)
        if job.status != JobStatus.PENDING or job.submissions.filter(state__in=LIVE).exists():
            return False
        now = database_now()
        fit_as_rendered(job, upstream, now)
        (submission,) = begin(
            [job],
            provider,
            now,
            lease_until=now,
            due_at=now + timedelta(seconds=upstream.lease),
            # It was sent when its video was made, which our books do not know.
            created_at=video.created_at or now,
        )
        accept(job, submission, video, upstream, how="recovered", by="operator")
    wake("dispatch")
    return True


def declare_foreign(provider: Provider, ids: Iterable[str]) -> int:
    """Records that these videos are none of ours, so that they never count again. Returns how many
    are new."""
    before = provider.foreign_videos.count()
    ForeignVideo.objects.bulk_create(
        (ForeignVideo(provider=provider, upstream_id=video_id) for video_id in ids), ignore_conflicts=True
    )
    return provider.foreign_videos.count() - before


def waive(upstream: Upstream) -> None:
    """Takes an operator's word that creates go on although the list cannot be compared with our books."""
    provider = upstream.provider()
    Provider.objects.filter(pk=provider.pk).update(books_waived=True)
    wake("submit")


def resume_if_recovered(upstream: Upstream) -> bool:
    """Ends the stop that videos newer than our books have caused, if there are none left. Raises
    SoraError."""
    if newer_than_books(upstream, upstream.provider()):
        return False
    forget_checks()
    found = Provider.objects.filter(name=upstream.name, stop_reason__startswith=BEHIND)
    if not found.update(stopped_at=None, stop_reason=""):
        return False
    log_unblocked(upstream.name, Block.STOPPED, "our books know all that its list shows")
    return True
