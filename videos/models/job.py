"""Jobs: what callers asked for."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.budgets import reservations
from accounts.models import Reservation
from upstreams.clock import database_now
from upstreams.offer.request import Priority
from videos.log_context import request_id
from videos.models.event import JobEvent
from videos.models.group import Group, new_id, notify_group
from videos.models.result import Result
from videos.models.updates import after_update
from videos.states import JOB_ENTERED_FROM, JOB_OPEN, JobStatus
from videos.usage.sums import take_back


class Job(Result):
    """What a caller asked for."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="jobs")
    api_key = models.ForeignKey("accounts.ApiKey", models.SET_NULL, null=True, related_name="+")
    # The indexes below serve it.
    group = models.ForeignKey(Group, models.PROTECT, null=True, related_name="jobs", db_index=False)
    # The caller's own name for it within its group.
    ref = models.CharField(max_length=100, blank=True)

    # As asked.
    prompt = models.TextField()
    negative_prompt = models.TextField(blank=True)
    duration = models.FloatField(null=True)
    resolution = models.CharField(max_length=10, blank=True)
    aspect_ratio = models.CharField(max_length=10, blank=True)
    size = models.CharField(max_length=11, blank=True, default="", db_default="")
    fps = models.PositiveSmallIntegerField(null=True)
    seed = models.PositiveBigIntegerField(null=True)
    audio = models.BooleanField(null=True)
    extra = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    style = models.CharField(max_length=20, blank=True)
    model = models.CharField(max_length=100, blank=True)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.NORMAL)
    # How it is made from the video of another job, which may be archived and gone (OPERATIONS); else "".
    operation = models.CharField(max_length=10, blank=True, default="", db_default="")
    source_job = models.UUIDField(null=True)
    metadata = models.JSONField(default=dict)
    # Of the request that asked for it last: by it, one search finds the job in the logs of all processes. The
    # database has the default as well, for processes of the version before while this one is installed.
    request_id = models.CharField(max_length=128, blank=True, default="", db_default="")

    # As fitted to what the upstream offers: the fields of upstreams.client.types.CreateRequest.
    fitted = models.JSONField()
    adjustments = models.JSONField(default=list)
    match_key = models.CharField(max_length=64)
    # The upstream that it was fitted to, and is sent to while that one takes creates; "" in rows from before.
    upstream = models.CharField(max_length=100, blank=True, default="", db_default="")
    # Whether it is sent only as it was asked for.
    strict = models.BooleanField(default=False, db_default=False)
    # US dollars; null if the price is not listed.
    estimated_cost = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    # What is set aside for the next attempt; a submission takes it over.
    reservation = models.ForeignKey("accounts.Reservation", models.PROTECT, null=True, related_name="+")

    status = models.CharField(max_length=10, choices=JobStatus, default=JobStatus.PENDING)
    # It waits and is not sent, because the key that asked was revoked (videos.queue.holds).
    held = models.BooleanField(default=False)
    # When a pending job may next be claimed.
    due_at = models.DateTimeField()
    progress = models.PositiveSmallIntegerField(default=0)

    error_code = models.CharField(max_length=100, blank=True)
    error_message = models.TextField(blank=True)
    error_details = models.JSONField(null=True)
    # How often in a row its claim raised unexpectedly, and what: videos.queue.isolation.
    faults = models.PositiveIntegerField(default=0)
    fault = models.TextField(blank=True)
    # It has ended, and what it came to is in the sums of videos.usage.sums.
    counted = models.BooleanField(default=False, db_default=False)

    created_at = models.DateTimeField()
    # When it was last asked for: at its creation or by a retry.
    asked_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    # In OpenAI's API, where it is gone then.
    deleted_at = models.DateTimeField(null=True)

    class Meta(Result.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(status__in=JobStatus.values), name="job_status_known"),
            models.CheckConstraint(
                condition=~Q(status=JobStatus.COMPLETED) | ~Q(video=""), name="job_completed_has_video"
            ),
            models.CheckConstraint(
                condition=~Q(status=JobStatus.FAILED) | ~Q(error_code=""), name="job_failed_has_error"
            ),
            models.CheckConstraint(condition=Q(progress__lte=100), name="job_progress_percent"),
            # Who opens it again takes it out of the sums first.
            models.CheckConstraint(
                condition=Q(counted=False) | ~Q(status__in=sorted(JOB_OPEN)), name="job_counted_has_ended"
            ),
            models.UniqueConstraint(
                fields=["group", "ref"], condition=Q(group__isnull=False) & ~Q(ref=""), name="job_ref_once"
            ),
        ]
        indexes = [
            *Result.Meta.indexes,
            # The claim: the lanes of waiting jobs, and the oldest jobs of each (queue/claims).
            models.Index(
                fields=["owner", "priority", "asked_at", "id"],
                condition=Q(status=JobStatus.PENDING, held=False, group__isnull=True),
                name="job_claim_single",
            ),
            models.Index(
                fields=["group", "priority", "asked_at", "id"],
                condition=Q(status=JobStatus.PENDING, held=False, group__isnull=False),
                name="job_claim_group",
            ),
            # A group's progress, and its list of one status.
            models.Index(
                fields=["group", "status", "id"], condition=Q(group__isnull=False), name="job_group_status"
            ),
            # A group's list.
            models.Index(fields=["group", "id"], condition=Q(group__isnull=False), name="job_group_list"),
            # A caller's list, newest first, by page or cursor.
            models.Index(fields=["owner", "-created_at", "-id"], name="job_owner_newest"),
            models.Index(
                fields=["owner", "status", "priority", "-created_at", "-id"], name="job_owner_kind_newest"
            ),
            # `manage.py undecided` lists those whose claim raises.
            models.Index(fields=["faults"], condition=Q(faults__gt=0), name="job_faults"),
            # /metrics counts.
            models.Index(fields=["status"], name="job_status"),
            # What is not in the sums yet: those that have ended, and those of an owner and its days.
            models.Index(
                fields=["status", "owner", "created_at"], condition=Q(counted=False), name="job_uncounted"
            ),
        ]

    # Whether it was read with its row lock.
    is_locked = False

    def __str__(self) -> str:
        return f"{self.id} {self.status}"

    def log_fields(self) -> dict[str, Any]:
        """What tells it in the log. While a caller waits, the request is the one that waits."""
        fields = {"job_id": str(self.pk), "owner": self.owner_id}
        if self.group_id is not None:
            fields["batch_id"] = str(self.group_id)
        if given := request_id() or self.request_id:
            fields["request_id"] = given
        return fields

    def age(self) -> float:
        """Seconds since it was last asked for."""
        return (timezone.now() - self.asked_at).total_seconds()

    @property
    def overdue(self) -> bool:
        """Whether it takes longer than expected. It continues all the same."""
        return self.status in JOB_OPEN and self.age() > settings.JOB_OVERDUE_AFTER

    def is_held(self) -> bool:
        """Whether it waits and is not sent, because the key that asked was revoked."""
        revoked = self.api_key is not None and self.api_key.holds_jobs()
        return self.status == JobStatus.PENDING and (self.held or revoked)

    @classmethod
    def lock(cls, **lookup: Any) -> Self:
        """The job with its row locked until the transaction ends; on SQLite the transaction is the lock."""
        job = cls.objects.select_for_update(of=("self",)).get(**lookup)
        job.is_locked = True
        return job

    def move(
        self,
        to: JobStatus,
        *,
        only_from: Iterable[JobStatus] | None = None,
        detail: dict[str, Any] | None = None,
        **fields: Any,
    ) -> bool:
        """Enters a status if the table allows it from the present one. Returns whether it won.

        The caller holds the job's row lock in a transaction; the history is written in the same one.
        """
        allowed = JOB_ENTERED_FROM[to] if only_from is None else JOB_ENTERED_FROM[to] & set(only_from)
        before, now = self.status, database_now()
        if before in allowed - JOB_OPEN:
            self.take_back()
        won = Job.objects.filter(pk=self.pk, status__in=allowed).update(status=to, updated_at=now, **fields)
        after_update(self, won, status=to, updated_at=now, **fields)
        if won and to in {JobStatus.FAILED, JobStatus.CANCELLED}:
            self.release_reservation()
        if won:
            cause = {"code": self.error_code, "message": self.error_message}
            JobEvent.record(self, "job", before, to, now, detail=detail, cause=cause)
            notify_group(self.group_id, before, to)
        return bool(won)

    @classmethod
    def move_together(
        cls, jobs: Sequence[Self], to: JobStatus, *, detail: dict[str, Any] | None = None, **fields: Any
    ) -> bool:
        """Enters a status as `move` does, for many jobs of one group at once. Returns whether it won.

        They are all in the same status, and the caller holds their row locks.
        """
        if not jobs:
            return False
        (before,), (group,) = {job.status for job in jobs}, {job.group_id for job in jobs}
        now = database_now()
        if before not in JOB_ENTERED_FROM[to]:
            return False
        pks = [job.pk for job in jobs]
        if before not in JOB_OPEN:
            take_back(Job.objects.filter(pk__in=pks))
        Job.objects.filter(pk__in=pks, status=before).update(status=to, updated_at=now, **fields)
        if to in {JobStatus.FAILED, JobStatus.CANCELLED}:
            reservations.release_all([job.reservation_id for job in jobs if job.reservation_id is not None])
            Job.objects.filter(pk__in=pks).update(reservation=None)
        JobEvent.record_together(jobs, before, to, now, detail=detail)
        notify_group(group, before, to)
        return True

    def take_back(self) -> None:
        """Under its lock, when it or an attempt changes after its end: dates that, and counts it anew."""
        take_back(Job.objects.filter(pk=self.pk))
        Job.objects.filter(pk=self.pk).update(updated_at=database_now())

    def release_reservation(self) -> None:
        """Releases the reservation of an attempt that will not happen."""
        if self.reservation is not None:
            reservations.release(self.reservation)
            self.attach_reservation(None)

    def attach_reservation(self, reservation: Reservation | None) -> None:
        """Attaches the reservation for the next attempt. Under the job's lock."""
        self.reservation = reservation
        Job.objects.filter(pk=self.pk).update(reservation=reservation)
