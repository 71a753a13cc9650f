"""The usage of an owner: jobs and dollars by day, key, model and status."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from django.db import models
from django.db.models import Case, Count, F, Q, Sum, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import TruncDate

from accounts.budgets.reservations import NOTHING, dollars
from accounts.models import ApiKey, User
from accounts.ownership import owned_by
from videos.models import Job, Submission, UsageCount
from videos.states import CostState, JobStatus
from videos.usage.sums import model_of

MAX_DAYS: Final = 366
GROUPS: Final = ("day", "key", "model", "status")


def usage(owner: User, first: date, last: date, by: Sequence[str]) -> list[dict[str, Any]]:
    """One row per group that has jobs: how many were asked for in these days of UTC, and what they cost.

    `settled` is paid; `reserved` may still have to be paid. A job counts for the day on which it was first
    asked for. By key, a job counts for the key that asked last. Money counts for the key for which it was
    reserved, as in the key's budget. The two may differ after a retry.
    """
    found: dict[tuple[Any, ...], list[Any]] = defaultdict(lambda: [0, NOTHING, NOTHING])
    first_part, *others = _parts(owner, first, last, by)
    # In one statement: a job that is counted meanwhile is in one of the parts, and in one alone.
    for *group, jobs, settled, reserved in first_part.union(*others, all=True):
        row = found[tuple(group)]
        row[0] += jobs
        row[1] += _exact(settled)
        row[2] += _exact(reserved)
    keys = {key.pk: key for key in owned_by(ApiKey.objects.all(), owner)} if "key" in by else {}
    rows = [_shown(dict(zip(by, group, strict=True)), row, keys) for group, row in found.items() if any(row)]
    return sorted(rows, key=lambda row: [str(row[group]) for group in by])


def _exact(amount: Decimal | None) -> Decimal:
    """The sum as it would be without SQLite's floating-point numbers."""
    return NOTHING if amount is None else round(amount, 4)


def _parts(owner: User, first: date, last: date, by: Sequence[str]) -> Iterator[Any]:
    """Rows of groups, jobs, settled and reserved, which add up: what is counted, and what is not yet."""
    days = {"day__gte": first, "day__lte": last}
    counted = owned_by(UsageCount.objects.filter(**days), owner)
    named = {"day": F("day"), "key": F("api_key_id"), "model": F("model"), "status": F("status")}
    yield _grouped(counted, named, by, jobs=Sum("jobs"), settled=Sum("settled"))
    open_jobs = _uncounted(Job.objects.all(), "", owner, first, last)
    yield _grouped(open_jobs, _groups("", F("api_key_id")), by, jobs=Count("pk"))
    waiting = open_jobs.exclude(reservation=None)
    reserved_for = _groups("", F("reservation__api_key_id"))
    yield _grouped(waiting, reserved_for, by, reserved=Sum("reservation__amount"))
    paid_for = Case(When(reservation=None, then=F("job__api_key_id")), default=F("reservation__api_key_id"))
    attempts = _uncounted(Submission.objects.all(), "job__", owner, first, last)
    paid, may_be_paid = (
        Sum("price", filter=Q(cost_state=state)) for state in (CostState.SETTLED, CostState.RESERVED)
    )
    yield _grouped(attempts, _groups("job__", paid_for), by, settled=paid, reserved=may_be_paid)


def _uncounted(rows: Any, job: str, owner: User, first: date, last: date) -> Any:
    """The rows of the owner's jobs of these days that are not counted yet, to which `job` leads."""
    span = {
        f"{job}counted": False,
        # By it the index finds them.
        f"{job}status__in": JobStatus.values,
        f"{job}created_at__gte": datetime.combine(first, time(), UTC),
        f"{job}created_at__lte": datetime.combine(last, time.max, UTC),
    }
    return owned_by(rows, owner, through=job).filter(**span)


def _groups(job: str, key: Combinable) -> dict[str, Any]:
    """What a row is grouped by, in terms of the job to which `job` leads."""
    return {
        "day": TruncDate(f"{job}created_at", tzinfo=UTC),
        "key": key,
        "model": model_of(job),
        "status": F(f"{job}status"),
    }


def _grouped(rows: Any, groups: dict[str, Any], by: Sequence[str], **sums: Any) -> Any:
    chosen = {f"by_{group}": groups[group] for group in by}
    grouped = rows.order_by().annotate(**chosen).values_list(*chosen)
    no_money = Value(NOTHING, models.DecimalField(max_digits=16, decimal_places=4))
    no_jobs = Value(0, models.BigIntegerField())
    sums = {"jobs": no_jobs, "settled": no_money, "reserved": no_money} | sums
    return grouped.annotate(**{f"sum_{name}": each for name, each in sums.items()})


def _shown(group: dict[str, Any], row: Sequence[Any], keys: dict[int, ApiKey]) -> dict[str, Any]:
    if "day" in group:
        group["day"] = group["day"].isoformat()
    if "key" in group:
        key = keys.get(group["key"])
        group["key"] = key and {"id": str(key.pk), "name": key.name, "prefix": key.prefix}
    jobs, settled, reserved = row
    return {**group, "jobs": jobs, "settled": dollars(settled), "reserved": dollars(reserved)}
