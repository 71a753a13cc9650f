"""Estimates of a job's place in the queue and its completion, from what this deployment has measured.

A read is cheap even if the queue is long: the jobs of each lane are counted once in five seconds for all
readers, and a job's place in its own lane up to lanes.MAX_POSITION.
"""

import time
from collections.abc import Iterable
from functools import cached_property
from uuid import UUID

from upstreams import registry
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.models import Group
from videos.queue.position import reasons
from videos.queue.position.backlog import SentJob, sent_jobs
from videos.queue.position.estimator import Estimator, QueuePosition
from videos.queue.position.excluded import excluded_everywhere
from videos.queue.position.lanes import ahead_in_lanes
from videos.reads.rows import JobRow, SubmissionRow
from videos.states import JOB_OPEN, LIVE, JobStatus


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
        self._made: dict[str, Estimator] = {}
        self._providers: dict[str, Provider] = {}

    @cached_property
    def sent_jobs(self) -> list[SentJob]:
        """Pending jobs that do not wait."""
        return sent_jobs()

    def at(self, submission: SubmissionRow) -> Estimator:
        """That of the upstream to which a job was sent."""
        name = submission.provider_name
        if name not in self._made and name not in self._providers:
            self._providers[name] = Provider.objects.get(pk=submission.provider_id)
        return self._of(name)

    def _of(self, name: str) -> Estimator:
        if name not in self._made:
            self._made[name] = Estimator(self._providers[name], registry.configured().get(name))
        return self._made[name]

    def _provider(self, upstream: Upstream) -> Provider:
        if upstream.name not in self._providers:
            self._providers[upstream.name] = upstream.provider()
        return self._providers[upstream.name]

    def of_waiting(self, job: JobRow) -> Estimator | None:
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
