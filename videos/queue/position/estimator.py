"""The estimates of one upstream: places in the queue, and when renders end."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.conf import settings

from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.models import Group
from videos.queue.claims.selection import effective_priority
from videos.queue.heartbeats import STALE_AFTER, clock_and_last_work
from videos.queue.position import reasons
from videos.queue.position.backlog import Backlog, backlog
from videos.queue.position.reasons import Reason, Waiting
from videos.queue.position.render_times import RenderTimes
from videos.reads.rows import JobRow, SubmissionRow
from videos.states import JobStatus


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


class Estimator:
    """Estimates for jobs of one upstream. `upstream`: None if it is not configured any more."""

    def __init__(self, provider: Provider, upstream: Upstream | None) -> None:
        self._upstream = upstream
        self._provider = provider
        # Before the answer, however long it takes: a job of that moment must not seem to be of the future.
        self._read_at = time.monotonic()
        self._clock, worked_at = clock_and_last_work(self._provider)
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
