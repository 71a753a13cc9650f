"""Finds the jobs of a lane that may be sent, in their order."""

from collections import defaultdict, deque
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from api.statements.compiled import Compiled
from upstreams import registry
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.models import Job, Submission
from videos.queue.claims.lanes import Lane
from videos.routing.eligible import eligible
from videos.states import LIVE, UNDECIDED, JobStatus

# Rows of a lane that are read together.
_PAGE: Final = 8
# Pages of a lane in one claim. More are only needed where many are alike, of which one is sent at a time.
_MAX_PAGES: Final = 8


class Candidate(NamedTuple):
    """A job that might be sent when it was looked for. Its row is not locked."""

    pk: UUID
    asked_at: datetime
    match_key: str


class Search:
    """The jobs that one upstream may be sent at one time, by lane."""

    def __init__(self, upstream: Upstream, provider: Provider, now: datetime) -> None:
        self._upstream = upstream
        self._provider = provider
        self._now = now
        self._mine = eligible(upstream, now)
        self._passed: set[UUID] = set()
        self._pages: dict[Lane, deque[Candidate]] = {}
        self._read: defaultdict[Lane, int] = defaultdict(int)
        # Behind which the next page of a lane begins.
        self._last: dict[Lane, Candidate] = {}

    def next(self, lane: Lane, besides: Iterable[str]) -> Candidate | None:
        """The next job of the lane that has none of these match keys; each is given once."""
        while True:
            page = self._pages.get(lane)
            if not page:
                page = self._pages[lane] = self._page(lane)
            if not page:
                return None
            candidate = page.popleft()
            if candidate.pk not in self._passed:
                self._passed.add(candidate.pk)
                if candidate.match_key not in besides:
                    return candidate

    def locked(self, pks: Iterable[UUID]) -> dict[UUID, Job]:
        """Those of these jobs that may still be sent, with their rows locked."""
        jobs = _sendable(self._mine, self._provider.pk, self._now).filter(pk__in=list(pks))
        return {job.pk: job for job in jobs.select_for_update(skip_locked=True, of=("self",)).order_by("pk")}

    def forget(self, *pks: UUID) -> None:
        """Reads all lanes anew, because rows have changed. Gives these again."""
        self._passed.difference_update(pks)
        self._pages.clear()
        self._read.clear()
        self._last.clear()

    def _page(self, lane: Lane) -> deque[Candidate]:
        if self._read[lane] >= _MAX_PAGES:
            return deque()
        self._read[lane] += 1
        last = self._last.get(lane)
        given: dict[str, Any] = {
            "owner" if lane.group_id is None else "group": lane.group_id or lane.owner_id,
            "provider": self._provider.pk,
            "now": self._now,
            "after": last.asked_at if last else lane.oldest,
            "after_pk": last.pk if last else UUID(int=0),
        }
        if len(registry.configured()) == 1:
            rows: Iterable[Any] = _compiled_for(self._upstream, lane.priority).rows(**given)
        else:
            rows = _of_lane(self._mine, priority=lane.priority, **given)
        page = deque(map(Candidate._make, rows))
        if page:
            self._last[lane] = page[-1]
        return page


def _sendable(mine: Q, provider: int, now: datetime) -> QuerySet[Job]:
    alike = Submission.objects.filter(
        state__in=UNDECIDED, provider_id=provider, match_key=OuterRef("match_key")
    )
    return Job.objects.filter(
        mine,
        ~Exists(Submission.objects.filter(state__in=LIVE, job=OuterRef("pk"))),
        ~Exists(alike),
        status=JobStatus.PENDING,
        held=False,
        due_at__lte=now,
    )


def _of_lane(
    mine: Q,
    *,
    priority: int,
    provider: int,
    now: datetime,
    after: datetime,
    after_pk: UUID,
    owner: int | None = None,
    group: UUID | None = None,
) -> QuerySet[Any, Any]:
    whose = {"owner_id": owner, "group": None} if group is None else {"group_id": group}
    behind = Q(asked_at__gt=after) | Q(asked_at=after, pk__gt=after_pk)
    jobs = _sendable(mine, provider, now).filter(behind, priority=priority, asked_at__gte=after, **whose)
    return jobs.order_by("asked_at", "pk").values_list("pk", "asked_at", "match_key")[:_PAGE]


# Of an only upstream, for which the jobs that it may take depend on nothing but the time. By its name, and by
# the priority of the lane, of which there are few.
_compiled: Final[dict[tuple[str, int], Compiled]] = {}


def _compiled_for(upstream: Upstream, priority: int) -> Compiled:
    key = upstream.name, priority
    if key not in _compiled:
        _compiled[key] = Compiled(
            lambda **given: _of_lane(eligible(upstream, given["now"]), priority=priority, **given)
        )
    return _compiled[key]
