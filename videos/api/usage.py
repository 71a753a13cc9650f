"""The usage of an owner: jobs and dollars by day, key, model and status."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final

from django.db.models import Case, CharField, Count, F, Q, Sum, Value, When
from django.db.models.expressions import Combinable
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, NullIf, TruncDate

from accounts.budgets.reservations import NOTHING, dollars
from accounts.models import ApiKey, User
from accounts.ownership import owned_by
from videos.models import Job, Submission
from videos.states import CostState

MAX_DAYS: Final = 366
GROUPS: Final = ("day", "key", "model", "status")


def usage(owner: User, first: date, last: date, by: Sequence[str]) -> list[dict[str, Any]]:
    """One row per group that has jobs: how many were asked for in these days of UTC, and what they cost.

    `settled` is paid; `reserved` may still have to be paid. A job counts for the day on which it was first
    asked for. By key, a job counts for the key that asked last. Money counts for the key for which it was
    reserved, as in the key's budget. The two may differ after a retry.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(
        lambda: {"jobs": 0, "settled": NOTHING, "reserved": NOTHING}
    )
    jobs = _grouped(Job.objects.all(), "", owner, first, last, by, F("api_key_id"))
    for *group, count in jobs.annotate(Count("pk")):
        found[tuple(group)]["jobs"] = count
    waiting = Job.objects.exclude(reservation=None)
    reserved_by_waiting = _grouped(waiting, "", owner, first, last, by, F("reservation__api_key_id"))
    for *group, reserved in reserved_by_waiting.annotate(Sum("reservation__amount")):
        found[tuple(group)]["reserved"] = reserved
    paid_for = Case(When(reservation=None, then=F("job__api_key_id")), default=F("reservation__api_key_id"))
    attempts = _grouped(Submission.objects.all(), "job__", owner, first, last, by, paid_for)
    in_state = {
        name: Sum("price", filter=Q(cost_state=state))
        for name, state in (("paid", CostState.SETTLED), ("open", CostState.RESERVED))
    }
    for *group, settled, reserved in attempts.annotate(**in_state):
        row = found[tuple(group)]
        row["settled"] += settled or NOTHING
        row["reserved"] += reserved or NOTHING
    keys = {key.pk: key for key in owned_by(ApiKey.objects.all(), owner)} if "key" in by else {}
    rows = [_shown(dict(zip(by, group, strict=True)), row, keys) for group, row in found.items()]
    return sorted(rows, key=lambda row: [str(row[group]) for group in by])


def _grouped(
    rows: Any, job: str, owner: User, first: date, last: date, by: Sequence[str], key: Combinable
) -> Any:
    """The rows of the owner's jobs of these days, by this key and other properties of the job, to which `job`
    leads."""
    span = {
        f"{job}created_at__gte": datetime.combine(first, time(), UTC),
        f"{job}created_at__lte": datetime.combine(last, time.max, UTC),
    }
    groups = {
        "day": TruncDate(f"{job}created_at", tzinfo=UTC),
        "key": key,
        # Rows from before several upstreams may have only what was sent.
        "model": Coalesce(
            NullIf(f"{job}model", Value("")),
            KeyTextTransform("model", F(f"{job}fitted")),
            output_field=CharField(),
        ),
        "status": F(f"{job}status"),
    }
    chosen = {f"by_{group}": groups[group] for group in by}
    own = owned_by(rows, owner, through=job).filter(**span)
    return own.order_by().annotate(**chosen).values_list(*chosen)


def _shown(group: dict[str, Any], row: dict[str, Any], keys: dict[int, ApiKey]) -> dict[str, Any]:
    if "day" in group:
        group["day"] = group["day"].isoformat()
    if "key" in group:
        key = keys.get(group["key"])
        group["key"] = key and {"id": str(key.pk), "name": key.name, "prefix": key.prefix}
    money = {name: dollars(row[name]) for name in ("settled", "reserved")}
    return {**group, "jobs": row["jobs"], **money}
