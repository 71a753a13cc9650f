"""What jobs that have ended came to."""

from collections import defaultdict
from datetime import UTC, date
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import F, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, NullIf

from accounts.budgets.reservations import NOTHING
from videos.states import CostState


class UsageCount(models.Model):
    """Jobs that have ended and what was paid for them, by owner, day, key, model and status.

    The rows of a group add up, and one may be negative: what a job that is asked for again takes back.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    # Of UTC, on which the jobs were first asked for.
    day = models.DateField()
    api_key = models.ForeignKey("accounts.ApiKey", models.SET_NULL, null=True, related_name="+")
    model = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=10)
    jobs = models.BigIntegerField()
    # US dollars.
    settled = models.DecimalField(max_digits=16, decimal_places=4)

    class Meta:
        indexes = [models.Index(fields=["owner", "day"], name="usage_owner_day")]

    def __str__(self) -> str:
        return f"{self.jobs} {self.status} of {self.day}: {self.settled}"


class UsageGroup(NamedTuple):
    """What is counted together."""

    owner_id: int
    day: date
    api_key_id: int | None
    model: str
    status: str

    @classmethod
    def of(cls, row: UsageCount) -> "UsageGroup":
        """The group of a row."""
        return cls(row.owner_id, row.day, row.api_key_id, row.model, row.status)

    def row(self, jobs: int, settled: Decimal) -> UsageCount:
        """An unsaved row of the group."""
        return UsageCount(**self._asdict(), jobs=jobs, settled=settled)


def model_of(job: str = "") -> Any:
    """The model of a job, to which `job` leads."""
    # Rows from before several upstreams may have only what was sent.
    sent = KeyTextTransform("model", F(f"{job}fitted"))
    return Coalesce(NullIf(f"{job}model", Value("")), sent, Value(""), output_field=models.CharField())


def sums_of(jobs: "models.QuerySet[Any]") -> dict[UsageGroup, tuple[int, Decimal]]:
    """By group, how many of these jobs and how many dollars are in it.

    Money counts for the key for which it was reserved, and a job for the key that asked last.
    """
    sums: dict[UsageGroup, list[Any]] = defaultdict(lambda: [0, NOTHING])
    its = ("owner", "created_at", "api_key", "of_model", "status")
    rows = jobs.order_by().annotate(of_model=model_of())
    for owner, at, key, model, status in rows.values_list(*its):
        sums[UsageGroup(owner, at.astimezone(UTC).date(), key, model, status)][0] += 1
    paid = rows.filter(submissions__cost_state=CostState.SETTLED).values_list(
        *its, "submissions__reservation", "submissions__reservation__api_key", "submissions__price"
    )
    for owner, at, key, model, status, reservation, reserved_for, price in paid:
        paying = key if reservation is None else reserved_for
        sums[UsageGroup(owner, at.astimezone(UTC).date(), paying, model, status)][1] += price or NOTHING
    return {group: (jobs, settled) for group, (jobs, settled) in sums.items()}


def take_back(jobs: "models.QuerySet[Any]") -> None:
    """Takes those of these jobs that are counted out of the counts again. Their rows are locked.

    It inserts rows alone, so nobody waits for it.
    """
    counted = jobs.filter(counted=True)
    if found := sums_of(counted):
        UsageCount.objects.bulk_create(group.row(-jobs, -settled) for group, (jobs, settled) in found.items())
        counted.update(counted=False)
