"""The rows: jobs, their paid attempts, their history, and the upstream that they go to."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Self

import uuid_utils.compat as uuid_utils
from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.budgets.reservations import reservations as budgets
from accounts.models import Reservation
from upstreams.clock import database_now, in_database
from videos.signals import job_ended, job_reopened
from videos.states import (
    ACCEPTED,
    COST_IN,
    JOB_ENTERED_FROM,
    JOB_OPEN,
    LIVE,
    SUBMISSION_ENTERED_FROM,
    UNDECIDED,
    CostState,
    JobStatus,
    SubmissionState,
)

PROMPT_MAX: Final = 2000


def new_id() -> uuid.UUID:
    """A UUIDv7: ids sort by the millisecond of their making."""
    return uuid_utils.uuid7()


class Priority(models.IntegerChoices):
    """Which jobs are claimed first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Provider(models.Model):
    """One upstream, known by its name. Its row is the lock under which work for it is claimed."""

    name = models.CharField(max_length=100, unique=True)
    # How many claims it has seen: what Turn counts in.
    turns = models.PositiveBigIntegerField(default=0)
    # Nothing is sent before this: the upstream was busy or could not be reached.
    held_until = models.DateTimeField(null=True)
    hold_reason = models.TextField(blank=True)
    # Nothing is asked, fetched or deleted before this: the upstream wants to be left alone.
    left_alone_until = models.DateTimeField(null=True)
    # When the next create has its turn, at SORA_REQUESTS_PER_MINUTE.
    turn_at = models.DateTimeField(null=True)
    # Nothing is sent until an operator says so.
    stopped_at = models.DateTimeField(null=True)
    stop_reason = models.TextField(blank=True)
    # Nothing is sent until a probe succeeds.
    paused_at = models.DateTimeField(null=True)
    pause_reason = models.TextField(blank=True)
    probe_due_at = models.DateTimeField(null=True)
    # Failures since the last accepted create; sets how long the next hold lasts.
    failures = models.PositiveIntegerField(default=0)
    # A sweep holds this as its lease.
    sweep_due_at = models.DateTimeField(null=True)
    # Null before the first audit, which is due AUDIT_SECONDS after created_at.
    audit_due_at = models.DateTimeField(null=True)
    # False once it has echoed other fields than it was sent, or dated a video outside its create: what its
    # list does not show may then be there all the same.
    proves_absence = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name

    def is_held(self) -> bool:
        """Whether nothing may be sent yet."""
        return self.held_until is not None and self.held_until > database_now()

    def left_alone_for(self) -> float:
        """Seconds for which it is asked nothing yet."""
        if self.left_alone_until is None:
            return 0.0
        return max(0.0, (self.left_alone_until - database_now()).total_seconds())

    def takes_creates(self) -> bool:
        """Whether nothing holds it back: no operator, no pause, no hold."""
        return self.stopped_at is None and self.paused_at is None and not self.is_held()


class Turn(models.Model):
    """When an owner was last served by a provider: the number of that claim. Who was served longest ago is
    next."""

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="+")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    number = models.PositiveBigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "owner"], name="turn_once")]

    def __str__(self) -> str:
        return f"{self.provider_id} {self.owner_id}: {self.number}"


class Group(models.Model):
    """Jobs of one owner of which at most `limit` are live at a time, and none is sent while it is held."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    limit = models.PositiveIntegerField()
    held = models.BooleanField(default=False)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(limit__gte=1), name="group_limit_positive")]

    def __str__(self) -> str:
        return str(self.id)


class Job(models.Model):
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
    fps = models.PositiveSmallIntegerField(null=True)
    seed = models.PositiveBigIntegerField(null=True)
    style = models.CharField(max_length=20, blank=True)
    model = models.CharField(max_length=100, blank=True)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.NORMAL)
    metadata = models.JSONField(default=dict)

    # As fitted to what the upstream offers: the fields of upstreams.client.types.CreateRequest.
    fitted = models.JSONField()
    adjustments = models.JSONField(default=list)
    match_key = models.CharField(max_length=64)
    # US dollars; null where the price is not listed.
    estimated_cost = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    # What is set aside for the next attempt; a submission takes it over.
    reservation = models.ForeignKey("accounts.Reservation", models.PROTECT, null=True, related_name="+")

    status = models.CharField(max_length=10, choices=JobStatus, default=JobStatus.PENDING)
    # When a pending job may next be claimed.
    due_at = models.DateTimeField()
    progress = models.PositiveSmallIntegerField(default=0)

    error_code = models.CharField(max_length=100, blank=True)
    error_message = models.TextField(blank=True)
    error_details = models.JSONField(null=True)

    video = models.FileField(max_length=255, blank=True)
    thumbnail = models.FileField(max_length=255, blank=True)
    result_seconds = models.FloatField(null=True)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    format = models.CharField(max_length=10, blank=True)
    file_size = models.PositiveBigIntegerField(null=True)

    created_at = models.DateTimeField()
    # When it was last asked for: at its creation or by a retry.
    asked_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=JobStatus.values), name="job_status_known"),
            models.CheckConstraint(
                condition=~Q(status=JobStatus.COMPLETED) | ~Q(video=""), name="job_completed_has_video"
            ),
            models.CheckConstraint(
                condition=~Q(status=JobStatus.FAILED) | ~Q(error_code=""), name="job_failed_has_error"
            ),
            models.CheckConstraint(condition=Q(progress__lte=100), name="job_progress_percent"),
            models.UniqueConstraint(
                fields=["group", "ref"], condition=Q(group__isnull=False) & ~Q(ref=""), name="job_ref_once"
            ),
        ]
        indexes = [
            # The claim: the lanes of waiting jobs, and the oldest jobs of each (lifecycle/choose.py).
            models.Index(
                fields=["owner", "priority", "asked_at", "id"],
                condition=Q(status=JobStatus.PENDING, group__isnull=True),
                name="job_claim_single",
            ),
            models.Index(
                fields=["group", "priority", "asked_at", "id"],
                condition=Q(status=JobStatus.PENDING, group__isnull=False),
                name="job_claim_group",
            ),
            # A group's progress, and its list of one status.
            models.Index(
                fields=["group", "status", "id"], condition=Q(group__isnull=False), name="job_group_status"
            ),
            # A group's list.
            models.Index(fields=["group", "id"], condition=Q(group__isnull=False), name="job_group_list"),
            # A caller's list, newest first, by page or cursor.
            models.Index(fields=["owner", "-id"], name="job_owner_list"),
            models.Index(fields=["owner", "status", "-id"], name="job_owner_status_list"),
            # /metrics counts.
            models.Index(fields=["status"], name="job_status"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.status}"

    def age(self) -> float:
        """Seconds since it was last asked for."""
        return (timezone.now() - self.asked_at).total_seconds()

    @property
    def overdue(self) -> bool:
        """Past its expected time, and still going on: our patience is not the upstream's failure."""
        return self.status in JOB_OPEN and self.age() > settings.JOB_OVERDUE_AFTER

    @classmethod
    def lock(cls, **lookup: Any) -> Self:
        """The job with its row locked until the transaction ends; on SQLite the transaction is the lock."""
        return cls.objects.select_for_update(of=("self",)).get(**lookup)

    def move(
        self,
        to: JobStatus,
        *,
        only_from: Iterable[JobStatus] | None = None,
        detail: dict[str, Any] | None = None,
        **fields: Any,
    ) -> bool:
        """Enters a status if the table allows it from the present one; says whether it won.

        The caller holds the job's row lock in a transaction; the history is written in the same one.
        """
        allowed = JOB_ENTERED_FROM[to] if only_from is None else JOB_ENTERED_FROM[to] & set(only_from)
        before, now = self.status, database_now()
        won = Job.objects.filter(pk=self.pk, status__in=allowed).update(status=to, updated_at=now, **fields)
        self.refresh_from_db()
        if won and to in {JobStatus.FAILED, JobStatus.CANCELLED}:
            self.give_back()
        if won:
            JobEvent.record(self, "job", before, to, now, detail=detail)
            _tell_group(self.group_id, before, to)
        return bool(won)

    @classmethod
    def move_together(
        cls, jobs: Sequence[Self], to: JobStatus, *, detail: dict[str, Any] | None = None, **fields: Any
    ) -> bool:
        """Enters a status as `move` does, for many jobs of one group at once; says whether it won.

        They are all in the same status, and the caller holds their row locks.
        """
        if not jobs:
            return False
        (before,), (group,) = {job.status for job in jobs}, {job.group_id for job in jobs}
        now = database_now()
        if before not in JOB_ENTERED_FROM[to]:
            return False
        pks = [job.pk for job in jobs]
        numbers = dict(
            JobEvent.objects.filter(job__in=pks).order_by().values_list("job").annotate(models.Max("number"))
        )
        Job.objects.filter(pk__in=pks, status=before).update(status=to, updated_at=now, **fields)
        if to in {JobStatus.FAILED, JobStatus.CANCELLED}:
            budgets.release_all([job.reservation_id for job in jobs if job.reservation_id is not None])
            Job.objects.filter(pk__in=pks).update(reservation=None)
        JobEvent.objects.bulk_create(
            JobEvent(
                job_id=pk,
                number=numbers.get(pk, 0) + 1,
                subject="job",
                from_state=before,
                to_state=to,
                detail=detail or {},
                created_at=now,
            )
            for pk in pks
        )
        _tell_group(group, before, to)
        return True

    def give_back(self) -> None:
        """What was set aside for an attempt that will not be made is free again."""
        if self.reservation is not None:
            budgets.release(self.reservation)
            self.hold(None)

    def hold(self, reservation: Reservation | None) -> None:
        """Keeps what is set aside for the next attempt. Under the job's lock."""
        self.reservation = reservation
        Job.objects.filter(pk=self.pk).update(reservation=reservation)


def _tell_group(group_id: uuid.UUID | None, before: str, after: str) -> None:
    """Says that a job of a group has ended, once that is committed, or is open again, in the transaction."""
    if group_id is None:
        return
    if after not in JOB_OPEN:
        # Of two that end in the same instant neither sees the other before its commit.
        transaction.on_commit(partial(job_ended.send_robust, Job, group_id=group_id))
    elif before not in JOB_OPEN:
        job_reopened.send(Job, group_id=group_id)


class Submission(models.Model):
    """One paid attempt to have a job rendered: the unit of upstream work and of money."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="submissions")
    number = models.PositiveIntegerField()
    provider = models.ForeignKey(Provider, models.PROTECT, related_name="submissions")
    match_key = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=SubmissionState, default=SubmissionState.SENDING)
    # When this row next needs attention; for who claims it, the end of the lease.
    due_at = models.DateTimeField(null=True)
    # The end of the sender's lease: nothing is posted after it.
    lease_until = models.DateTimeField()
    give_up_at = models.DateTimeField()

    # What was sent; model and length by themselves, because by them is measured how long renders take.
    request = models.JSONField()
    model = models.CharField(max_length=100)
    seconds = models.CharField(max_length=20)
    # Null, not empty: it is unique where there is one.
    upstream_id = models.CharField(max_length=255, null=True)  # noqa: DJ001

    # US dollars; null where the price is not listed.
    price = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    cost_state = models.CharField(max_length=10, choices=CostState, default=CostState.RESERVED)
    reservation = models.ForeignKey("accounts.Reservation", models.PROTECT, null=True, related_name="+")

    # Whether the create was answered by an error rather than by silence.
    answered = models.BooleanField(default=False)
    # Complete looks at the list while unknown; tries to fetch or to drop afterwards.
    looks = models.PositiveIntegerField(default=0)
    unknown_at = models.DateTimeField(null=True)
    # Since when the upstream gives no answer about it.
    silent_since = models.DateTimeField(null=True)
    # Since when, and in how many looks, the upstream says that it does not know it.
    missing_since = models.DateTimeField(null=True)
    missing_looks = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=100, blank=True)
    error_message = models.TextField(blank=True)

    created_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    rendered_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="submission_number"),
            # A job is never rendered twice at once.
            models.UniqueConstraint(
                fields=["job"], condition=Q(state__in=sorted(LIVE)), name="submission_one_live"
            ),
            # The protocol carries no client reference: of two attempts that the upstream's list could not
            # tell apart, one may be undecided at a time.
            models.UniqueConstraint(
                fields=["provider", "match_key"],
                condition=Q(state__in=sorted(UNDECIDED)),
                name="submission_one_undecided",
            ),
            models.UniqueConstraint(
                fields=["provider", "upstream_id"],
                condition=Q(upstream_id__isnull=False),
                name="submission_upstream_id",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=sorted(ACCEPTED)) | Q(upstream_id__isnull=False),
                name="submission_accepted_has_id",
            ),
            models.CheckConstraint(
                condition=Q(
                    *[Q(state=state, cost_state__in=sorted(allowed)) for state, allowed in COST_IN.items()],
                    _connector=Q.OR,
                ),
                name="submission_cost_of_state",
            ),
        ]
        indexes = [
            # The look: what needs attention now.
            models.Index(
                fields=["due_at", "state"], condition=Q(due_at__isnull=False), name="submission_due"
            ),
            # The claim counts the live ones of a provider; the sweep reads them.
            models.Index(
                fields=["provider", "state"], condition=Q(state__in=sorted(LIVE)), name="submission_live"
            ),
            # How long the last ones of a model and a length took: videos.queue.positions.
            models.Index(
                fields=["provider", "model", "seconds", "-ended_at"],
                condition=Q(state=SubmissionState.STORED),
                name="submission_durations",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_id}/{self.number} {self.state}"

    def move(
        self,
        to: SubmissionState,
        *,
        only_from: Iterable[SubmissionState] | None = None,
        detail: dict[str, Any] | None = None,
        **fields: Any,
    ) -> bool:
        """Enters a state if the table allows it from the present one; says whether it won.

        Works as Job.move does, under the row lock of its job. A cost once settled stays settled. A state
        that is not live ends the submission; its due_at is cleared unless it is given.
        """
        table = SUBMISSION_ENTERED_FROM[to]
        allowed = table if only_from is None else table & set(only_from)
        before, now = self.state, database_now()
        if self.cost_state == CostState.SETTLED:
            fields.pop("cost_state", None)
        fields.setdefault("due_at", None)
        fields.setdefault("ended_at", None if to in LIVE else now)
        cost_before = self.cost_state
        won = Submission.objects.filter(pk=self.pk, state__in=allowed).update(state=to, **fields)
        self.refresh_from_db()
        if won and self.cost_state != cost_before:
            self._move_money()
        if won:
            JobEvent.record(self.job, "submission", before, to, now, number=self.number, detail=detail)
        return bool(won)

    def _move_money(self) -> None:
        """What was set aside follows the cost. Under the job's lock."""
        job = self.job
        match self.cost_state:
            case CostState.SETTLED if self.reservation is not None:
                budgets.settle(self.reservation, self.price)
            case CostState.SETTLED:
                # Called absent, and accepted after all when nothing was set aside for it any more.
                self._hold(budgets.charge(job.owner, job.api_key, self.price))
            case CostState.RELEASED if self.reservation is not None:
                budgets.release(self.reservation)
            case CostState.RETURNED:
                # To the job, for its next attempt; a job that has ended makes none.
                job.hold(self.reservation)
                self._hold(None)
                if job.status != JobStatus.PENDING:
                    job.give_back()
            case CostState.RESERVED:
                self._hold(job.reservation)
                job.hold(None)

    def _hold(self, reservation: Reservation | None) -> None:
        self.reservation = reservation
        Submission.objects.filter(pk=self.pk).update(reservation=reservation)

    def claim_due(self, lease: float) -> bool:
        """Takes the row's due work for `lease` seconds; False when another has it or it is not due."""
        due = Submission.objects.filter(pk=self.pk, state=self.state, due_at__lte=in_database())
        return bool(due.update(due_at=in_database(lease)))


@contextmanager
def locked(submission: Submission) -> Iterator[tuple[Job, Submission]]:
    """A transaction that holds the job's row lock, with both rows as they now are."""
    with transaction.atomic(durable=True):
        job = Job.lock(pk=submission.job_id)
        fresh = Submission.objects.select_related("provider").get(pk=submission.pk)
        fresh.job = job
        yield job, fresh


class JobEvent(models.Model):
    """One line of a job's history, written in the transaction of the move that it tells of. Append-only."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="events")
    number = models.PositiveIntegerField()
    # "job" or "submission".
    subject = models.CharField(max_length=10)
    submission_number = models.PositiveIntegerField(null=True)
    from_state = models.CharField(max_length=10, blank=True)
    to_state = models.CharField(max_length=10)
    detail = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="job_event_number")]

    def __str__(self) -> str:
        return f"{self.job_id} #{self.number} {self.subject} {self.to_state}"

    @classmethod
    def record(
        cls,
        job: Job,
        subject: str,
        before: str,
        after: str,
        at: Any,
        *,
        number: int | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Appends to the job's history; the job's row lock makes the number unique."""
        last = cls.objects.filter(job=job).aggregate(last=models.Max("number"))["last"] or 0
        cls.objects.create(
            job=job,
            number=last + 1,
            subject=subject,
            submission_number=number,
            from_state=before,
            to_state=after,
            detail=detail or {},
            created_at=at,
        )
