"""Estimates of a job's place in the queue and its completion, from what this deployment has measured.

A read is cheap even if the queue is long: the jobs of each lane are counted once in five seconds for all
readers, and a job's place in its own lane up to lanes.MAX_POSITION.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from uuid import UUID

from django.conf import settings

from upstreams import registry
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.models import Group
from videos.queue.heartbeats import STALE_AFTER, clock_and_last_work
from videos.queue.position import reasons
from videos.queue.position.backlog import Backlog, SentJob, backlog, sent_jobs
from videos.queue.position.excluded import excluded_everywhere
from videos.queue.position.lanes import ahead_in_lanes
from videos.queue.position.reasons import Reason, Waiting
from videos.queue.position.render_times import RenderTimes
from videos.queue.selection import effective_priority
from videos.reads.rows import JobRow, SubmissionRow
from videos.states import JOB_OPEN, LIVE, JobStatus


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """The place of an open job. `position` is null once it is sent, and while it or its group is held.

    The times are null until a render of its model and length has been measured, once they have passed, and
    while no worker runs, because no time would be true.
    """

    position: int | None = None
    # By the median of the last renders of its kind, and by their 90th percentile.
    done_at: datetime | None = None
    done_by: datetime | None = None
    # Of a pending job.
    waiting: Waiting | None = None


def queue_positions(jobs: Iterable[JobRow]) -> dict[UUID, QueuePosition]:
    """The places of these jobs by id, without ended jobs, and why they wait."""
    sent: list[tuple[JobRow, SubmissionRow]] = []
    waiting: list[JobRow] = []
    for job in jobs:
        if job.status not in JOB_OPEN:
            continue
        live = next((each for each in job.submissions if each.state in LIVE), None)
        if live is not None:
            sent.append((job, live))
        elif job.status == JobStatus.PENDING:
            waiting.append(job)
    if not sent and not waiting:
        return {}
    estimators = _shared()
    found = {job.pk: estimators.at(submission).of_sent(job, submission) for job, submission in sent}
    outlooks = {job.pk: estimators.of_waiting(job) for job in waiting}
    excluded = excluded_everywhere(waiting)
    in_groups = {job.group_id for job in waiting if job.group_id is not None}
    groups = Group.objects.in_bulk(in_groups) if in_groups else {}
    queued = []
    for job in waiting:
        outlook = outlooks[job.pk]
        if job.is_held or (outlook is not None and outlook.is_deactivated(job)):
            found[job.pk] = QueuePosition(waiting=reasons.held(job))
        elif job.group_id is not None and groups[job.group_id].held:
            found[job.pk] = QueuePosition(waiting=reasons.paused(job))
        elif outlook is None:
            found[job.pk] = QueuePosition(waiting=reasons.without_upstream(job))
        elif job.pk in excluded:
            found[job.pk] = QueuePosition(waiting=excluded[job.pk])
        else:
            queued.append(job)
    for job, in_lane in ahead_in_lanes(queued, estimators.sent_jobs) if queued else ():
        group = groups[job.group_id] if job.group_id else None
        outlook = outlooks[job.pk]
        assert outlook is not None
        found[job.pk] = outlook.of_waiting(job, in_lane, group)
    return found


class _Estimators:
    """The estimators of the upstreams, each made at its first use."""

    def __init__(self) -> None:
        self.made_at = time.monotonic()
        self._made: dict[str, _Estimator] = {}
        self._providers: dict[str, Provider] = {}

    @cached_property
    def sent_jobs(self) -> list[SentJob]:
        """Pending jobs that do not wait."""
        return sent_jobs()

    def at(self, submission: SubmissionRow) -> "_Estimator":
        """That of the upstream to which a job was sent."""
        name = submission.provider_name
        if name not in self._made and name not in self._providers:
            self._providers[name] = Provider.objects.get(pk=submission.provider_id)
        return self._of(name)

    def _of(self, name: str) -> "_Estimator":
        if name not in self._made:
            self._made[name] = _Estimator(self._providers[name], registry.configured().get(name))
        return self._made[name]

    def _provider(self, upstream: Upstream) -> Provider:
        if upstream.name not in self._providers:
            self._providers[upstream.name] = upstream.provider()
        return self._providers[upstream.name]

    def of_waiting(self, job: JobRow) -> "_Estimator | None":
        """That of the upstream to which a waiting job goes, as far as is known; None if there is none.

        It is the one that it was fitted to, unless that takes no creates and another one does.
        """
        upstreams = registry.configured()
        named = upstreams.get(job.upstream) or (upstreams.all[0] if not job.upstream else None)
        others = [each for each in upstreams.models().get(job.model, []) if each != named]
        candidates = ([named] if named else []) + others
        if not candidates:
            return None
        for upstream in candidates:
            provider = self._provider(upstream)
            if len(candidates) == 1 or provider.takes_creates():
                return self._of(upstream.name)
        return self._of(candidates[0].name)


# For how many seconds all readers of a process share the estimators. What a caller may see late is the state
# of the upstream, not that of its job.
SHARED_SECONDS = 0.5
_last_made: _Estimators | None = None


def _shared() -> _Estimators:
    global _last_made
    last = _last_made
    if last is None or time.monotonic() - last.made_at >= SHARED_SECONDS:
        last = _last_made = _Estimators()
    return last


class _Estimator:
    """Estimates for jobs of one upstream. `upstream`: None if it is not configured any more."""

    def __init__(self, provider: Provider, upstream: Upstream | None) -> None:
        self._upstream = upstream
        self._provider = provider
        self._clock, worked_at = clock_and_last_work(self._provider)
        self._read_at = time.monotonic()
        self._renders = RenderTimes(self._provider.pk)
        # If no worker has ever run, nothing was measured either.
        self._is_worked = worked_at is None or self._clock - worked_at <= STALE_AFTER

    @property
    def _now(self) -> datetime:
        """By the database's clock, which goes on while others use the same estimator."""
        return self._clock + timedelta(seconds=time.monotonic() - self._read_at)

    @cached_property
    def _backlog(self) -> Backlog:
        return backlog(self._provider)

    def is_deactivated(self, job: JobRow) -> bool:
        """Whether its account is deactivated, so that it is not sent."""
        return job.owner_id in self._backlog.deactivated

    def of_sent(self, job: JobRow, submission: SubmissionRow) -> QueuePosition:
        """The place of a job with this live submission."""
        waiting = reasons.sent(submission) if job.status == JobStatus.PENDING else None
        if not self._is_worked:
            return QueuePosition(waiting=waiting)
        ends = self._renders.ends(submission.request, submission.created_at, 0)
        done_at, done_by = (end if end and end > self._now else None for end in ends)
        return QueuePosition(None, done_at, done_by, waiting)

    def of_waiting(self, job: JobRow, in_lane: int, group: Group | None) -> QueuePosition:
        """The place of a waiting job with so many jobs before it in its lane."""
        own, in_group = self._own_ahead(job, in_lane)
        position = 1 + own + self._others_ahead(job, own)
        wait = self._wait(job, position, own, in_group, group)
        done_at, done_by = self._renders.ends(job.fitted, self._now, wait)
        return QueuePosition(position, done_at, done_by, self._why(job, group))

    def _why(self, job: JobRow, group: Group | None) -> Waiting:
        """Why a job is not sent now: what would keep it waiting longest is named first."""
        if (found := reasons.of_upstream(self._provider, job, self._now)) is not None:
            return found
        if not self._is_worked:
            return Waiting(Reason.NO_WORKER, job.asked_at)
        if job.due_at > self._now:
            return Waiting(Reason.RETRY, job.asked_at, job.due_at)
        if group is not None and self._backlog.live_in_group.get(group.pk, 0) >= group.limit:
            return Waiting(Reason.BATCH_LIMIT, job.asked_at)
        most = settings.MAX_IN_FLIGHT_JOBS
        if most and self._backlog.live_of.get(job.owner_id, 0) >= most:
            return Waiting(Reason.OWNER_LIMIT, job.asked_at)
        return Waiting(Reason.QUEUE, job.asked_at)

    def _own_ahead(self, job: JobRow, in_lane: int) -> tuple[int, int]:
        """How many jobs of its owner are taken before this one, and how many of its group."""
        mine = effective_priority(job.priority, job.asked_at, self._now)
        own = in_group = in_lane
        for group, priority, its, oldest, count, blocking in self._backlog.lanes.get(job.owner_id, ()):
            first = (-its, oldest) < (-mine, job.asked_at)
            if not first or (group, priority) == (job.group_id, job.priority):
                continue
            if group is not None and group == job.group_id:
                in_group += count
                own += count
            else:
                own += blocking
        return own, in_group

    def _others_ahead(self, job: JobRow, own: int) -> int:
        """How many jobs of other owners are taken before this one, with so many `own` ones before it."""
        mine = effective_priority(job.priority, job.asked_at, self._now)
        higher = sum(
            count
            for its, owners in self._backlog.blocking.items()
            for owner, (count, _) in owners.items()
            if its > mine and owner != job.owner_id
        )
        last = self._backlog.last_claims
        same = self._backlog.blocking.get(mine, {})
        _, my_oldest = same.get(job.owner_id, (0, job.asked_at))
        rank = last.get(job.owner_id, 0), min(my_oldest, job.asked_at)
        # An owner whose last claim is older goes first; after that, round robin.
        return higher + sum(
            min(count, own + ((last.get(owner, 0), oldest) < rank))
            for owner, (count, oldest) in same.items()
            if owner != job.owner_id
        )

    def _wait(self, job: JobRow, position: int, own: int, in_group: int, group: Group | None) -> float | None:
        """Seconds until it is sent, if all others take as long as its own kind; None if nothing is sent."""
        measured = self._renders.of(job.fitted)
        if measured is None or not self._is_worked or not self._backlog.is_open:
            return None
        median, _ = measured

        def passed(places: int, limit: int, live: int) -> float:
            """Until so many have been sent, of which so many may be live at a time and are now."""
            return max(places - max(limit - live, 0), 0) * median / limit

        waits = [
            passed(position, self._upstream.concurrency, self._backlog.live) if self._upstream else 0.0,
            (job.due_at - self._now).total_seconds(),
        ]
        if group is not None:
            waits.append(passed(in_group + 1, group.limit, self._backlog.live_in_group.get(group.pk, 0)))
        if most := settings.MAX_IN_FLIGHT_JOBS:
            waits.append(passed(own + 1, most, self._backlog.live_of.get(job.owner_id, 0)))
        if self._upstream and self._upstream.requests_per_minute:
            waits.append((position - 1) * 60 / self._upstream.requests_per_minute)
        return max(0.0, *waits)
