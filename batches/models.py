"""Batches and their history. The progress of a batch is derived from its jobs (batches.progress)."""

from datetime import datetime
from functools import partial
from typing import Any, Self

import structlog
from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from api.logs.events import LogEvent
from upstreams.clock import database_now, in_database
from videos.models import Group

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Batch(models.Model):
    """One request for many videos, whose jobs are those of its group."""

    group = models.OneToOneField(Group, models.PROTECT, primary_key=True, related_name="batch")
    api_key = models.ForeignKey("accounts.ApiKey", models.SET_NULL, null=True, related_name="+")
    name = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict)
    total = models.PositiveIntegerField()
    # Each retry after the batch was completed begins another.
    round = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    # The beginning of the round.
    opened_at = models.DateTimeField()
    cancelled_at = models.DateTimeField(null=True)
    # When the last job of the round ended; recorded once a round.
    completed_at = models.DateTimeField(null=True)
    # How many times in a row the sweep's work on it has raised, the last error, and when it is tried again.
    # The database has the defaults as well, for processes of the version before during an upgrade.
    faults = models.PositiveIntegerField(default=0, db_default=0)
    fault = models.TextField(blank=True, default="", db_default="")
    due_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "batches"
        indexes = [
            # The sweep: those that may have been completed unseen.
            models.Index(fields=["group"], condition=Q(completed_at__isnull=True), name="batch_open"),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    @classmethod
    def lock(cls, pk: Any) -> Self | None:
        """The batch with its row locked until the transaction ends; None if the group belongs to no batch."""
        return cls.objects.select_for_update(of=("self",)).select_related("group").filter(pk=pk).first()

    @classmethod
    def due(cls) -> models.QuerySet[Self]:
        """Those that are not put off."""
        return cls.objects.filter(Q(due_at=None) | Q(due_at__lte=in_database()))

    @property
    def paused(self) -> bool:
        """Whether it is paused: none of its jobs is sent until it is resumed."""
        return self.group.held and self.cancelled_at is None

    @property
    def overdue(self) -> bool:
        """Whether it takes longer than BATCH_TIMEOUT. It continues all the same."""
        age = (timezone.now() - self.opened_at).total_seconds()
        return self.completed_at is None and age > settings.BATCH_TIMEOUT


class BatchEvent(models.Model):
    """One line of a batch's history, written in the transaction of the change. Append-only."""

    class Kind(models.TextChoices):
        """What happened."""

        CREATED = "created"
        PAUSED = "paused"
        RESUMED = "resumed"
        CANCELLED = "cancelled"
        COMPLETED = "completed"
        REOPENED = "reopened"

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="events")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=9, choices=Kind)
    round = models.PositiveIntegerField()
    detail = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["batch", "number"], name="batch_event_number"),
            # A round is completed, and said to be, once.
            models.UniqueConstraint(
                fields=["batch", "round"], condition=Q(kind="completed"), name="batch_completed_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} #{self.number} {self.kind}"

    @classmethod
    def record(
        cls, batch: Batch, kind: Kind, *, detail: dict[str, Any] | None = None, at: datetime | None = None
    ) -> None:
        """Appends to the batch's history; the batch's row lock makes the number unique."""
        last = cls.objects.filter(batch=batch).order_by("-number").first()
        cls.objects.create(
            batch=batch,
            number=last.number + 1 if last is not None else 1,
            kind=kind,
            round=batch.round,
            detail=detail or {},
            created_at=at or database_now(),
        )
        before = last.kind if last is not None else ""
        said = {"batch_id": str(batch.pk), "owner": batch.group.owner_id, "from_state": before}
        # How it has ended says more than that it has.
        said |= {"to_state": str(kind.value), "total": batch.total}
        if detail is not None:
            said |= {"to_state": detail["status"], "progress": detail["progress"]}
        transaction.on_commit(partial(logger.info, LogEvent.BATCH, **said), robust=True)
