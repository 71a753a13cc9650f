"""Counts over all rows, made in the background for a bounded share of time and stored for all readers."""

import logging
import time
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Min, Q, Sum

from accounts.models import Spending
from health.models import Snapshot
from upstreams.clock import database_now, in_database
from upstreams.offer.request import Priority
from videos.models import Job, Submission
from videos.states import JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# From the end of a count on: less than beat's interval.
_EVERY_SECONDS: Final = 4.0
# Counting takes this share of the database's time at most, however much there is to count.
_SHARE: Final = 0.02
# Without a worker that counts, a reader does if it takes no longer than this.
_READER_SECONDS: Final = 0.25
_READER_AFTER: Final = timedelta(seconds=10)
_LEASE_SECONDS: Final = 300.0


def measure_if_due() -> bool:
    """Counts if no process has within the last seconds. Returns whether it did."""
    row, _ = Snapshot.objects.get_or_create(pk=1, defaults={"due_at": database_now()})
    if row.due_at > database_now():
        return False
    if not Snapshot.objects.filter(pk=row.pk, due_at__lte=in_database()).update(
        due_at=in_database(_LEASE_SECONDS)
    ):
        return False
    begun, now = time.monotonic(), database_now()
    figures = _count(now)
    took = time.monotonic() - begun
    Snapshot.objects.filter(pk=row.pk).update(
        figures=figures,
        measured_at=now,
        took=took,
        due_at=in_database(max(_EVERY_SECONDS, took / _SHARE)),
    )
    return True


def latest() -> Snapshot:
    """The last snapshot, in one statement. Counts only if there is none, or if it is old and cheap
    to make."""
    row = Snapshot.objects.filter(pk=1, measured_at__isnull=False).first()
    if row is not None and (
        row.took > _READER_SECONDS or database_now() - (row.measured_at or row.due_at) < _READER_AFTER
    ):
        return row
    measure_if_due()
    # Of two first readers the one that does not count finds nothing yet.
    return Snapshot.objects.filter(pk=1).first() or Snapshot(due_at=database_now())


def _count(now: datetime) -> dict[str, Any]:
    statuses = dict(Job.objects.order_by().values_list("status").annotate(Count("pk")))
    states = dict(Submission.objects.order_by().values_list("state").annotate(Count("pk")))
    waiting = Job.objects.filter(status=JobStatus.PENDING).order_by().values_list("priority")
    queue = {
        priority: (count, (now - oldest).total_seconds())
        for priority, count, oldest in waiting.annotate(Count("pk"), Min("asked_at"))
    }
    unknown = Submission.objects.filter(state=SubmissionState.UNKNOWN).aggregate(Min("unknown_at"))
    return {
        "jobs": {status: statuses.get(status, 0) for status in JobStatus.values},
        "submissions": {state: states.get(state, 0) for state in SubmissionState.values},
        "queue": {each.name.lower(): queue.get(each.value, (0, 0.0))[0] for each in Priority},
        "oldest": {each.name.lower(): queue.get(each.value, (0, 0.0))[1] for each in Priority},
        "oldest_unknown": _age(unknown["unknown_at__min"], now),
        "spending": _spending(now),
    }


def _age(at: datetime | None, now: datetime) -> float:
    return 0.0 if at is None else (now - at).total_seconds()


def _spending(now: datetime) -> dict[str, dict[str, int]]:
    """The spending of all owners in the present day and month, in ten-thousandths of a dollar."""
    today = now.date()
    current = Q(period="day", starts_on=today) | Q(period="month", starts_on=today.replace(day=1))
    sums = Spending.objects.filter(current, api_key=None).order_by().values_list("period")
    found = {
        period: {"reserved": reserved, "settled": settled}
        for period, reserved, settled in sums.annotate(Sum("reserved"), Sum("settled"))
    }
    return {period: found.get(period, {"reserved": 0, "settled": 0}) for period in ("day", "month")}
