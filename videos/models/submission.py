"""Submissions: the paid attempts to have a job rendered."""

from collections.abc import Iterable
from copy import copy
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import models, transaction
from django.db.models import Q

from accounts.budgets import reservations
from accounts.models import Reservation
from upstreams.client.types import Phase, Video
from upstreams.client.values import ID_MAX_BYTES
from upstreams.clock import database_now, in_database
from upstreams.models import Provider
from videos.models.event import JobEvent
from videos.models.job import Job
from videos.models.updates import after_update
from videos.signals import submission_moved
from videos.states import (
    ACCEPTED,
    COST_IN,
    LIVE,
    SUBMISSION_ENTERED_FROM,
    UNDECIDED,
    CostState,
    JobStatus,
    SubmissionState,
)


class Submission(models.Model):
    """One paid attempt to have a job rendered: the unit of upstream work and of money."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="submissions")
    number = models.PositiveIntegerField()
    provider = models.ForeignKey(Provider, models.PROTECT, related_name="submissions")
    match_key = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=SubmissionState, default=SubmissionState.SENDING)
    # When this row next needs attention; while it is claimed, the end of the lease.
    due_at = models.DateTimeField(null=True)
    # The end of the sender's lease: nothing is posted after it.
    lease_until = models.DateTimeField()
    give_up_at = models.DateTimeField()

    # What was sent; model and length by themselves, because by them is measured how long renders take.
    request = models.JSONField()
    model = models.CharField(max_length=100)
    seconds = models.CharField(max_length=20)
    # Null, not empty, because it is unique if there is one.
    upstream_id = models.CharField(max_length=ID_MAX_BYTES, null=True)  # noqa: DJ001

    # US dollars; null if the price is not listed.
    price = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    cost_state = models.CharField(max_length=10, choices=CostState, default=CostState.RESERVED)
    reservation = models.ForeignKey("accounts.Reservation", models.PROTECT, null=True, related_name="+")

    # When the upstream says that it made the video: tells it from a later one under the same id.
    upstream_created_at = models.DateTimeField(null=True)
    # The upstream has given its id to another video: nothing is asked or fetched under it any more.
    id_reused = models.BooleanField(default=False)
    # The upstream's clock minus the database's, in seconds: between these two by all that was measured from
    # the claim on. Null while nothing was.
    clock_low = models.FloatField(null=True)
    clock_high = models.FloatField(null=True)
    # False once two measurements contradicted each other: one of the clocks was set meanwhile.
    clock_steady = models.BooleanField(default=True)
    # Whether the create was answered by an error rather than by silence.
    answered = models.BooleanField(default=False)
    # Whether the create was answered with a 2xx: it was accepted, even if the list does not show it.
    create_succeeded = models.BooleanField(default=False)
    # Complete searches of the list while unknown; tries to fetch or to drop afterwards.
    attempts = models.PositiveIntegerField(default=0)
    unknown_at = models.DateTimeField(null=True)
    # The first and the last of our attempts in a row that got no answer about it, or no file. Of the time
    # between two of them at most a quarter of an hour counts: silent_since is moved by the rest.
    silent_since = models.DateTimeField(null=True)
    silent_at = models.DateTimeField(null=True)
    # Since when, and in how many attempts, the upstream says that it does not know it.
    missing_since = models.DateTimeField(null=True)
    missing_polls = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=100, blank=True)
    error_message = models.TextField(blank=True)
    # How often in a row a journey raised on it unexpectedly, and what: videos.queue.isolation.
    faults = models.PositiveIntegerField(default=0)
    fault = models.TextField(blank=True)

    created_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    # When a sweep last had an answer about it.
    seen_at = models.DateTimeField(null=True)
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
                condition=Q(upstream_id__isnull=False, id_reused=False),
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
            # Dispatch: what needs attention now.
            models.Index(
                fields=["due_at", "state"], condition=Q(due_at__isnull=False), name="submission_due"
            ),
            # `manage.py undecided` lists those that a journey raises on.
            models.Index(fields=["faults"], condition=Q(faults__gt=0), name="submission_faults"),
            # The claim counts the live ones of a provider; the sweep reads them.
            models.Index(
                fields=["provider", "state"], condition=Q(state__in=sorted(LIVE)), name="submission_live"
            ),
            # How long the last ones of a model and a length took: videos.queue.position.estimates.
            models.Index(
                fields=["provider", "model", "seconds", "-ended_at"],
                condition=Q(state=SubmissionState.STORED),
                name="submission_durations",
            ),
        ]

    # Whether it was read under the lock of its job.
    is_locked = False

    def __str__(self) -> str:
        return f"{self.job_id}/{self.number} {self.state}"

    def log_fields(self) -> dict[str, Any]:
        """What tells it in the log, with its job."""
        mine = {"submission": f"{self.job_id}/{self.number}", "provider": self.provider.name}
        return {**self.job.log_fields(), **mine}

    def owns(self, video: Video) -> bool:
        """Whether the video is this submission's, and not another to which the upstream gave the same id."""
        if self.id_reused or video.id != self.upstream_id:
            return False
        if video.created_at is not None and self.upstream_created_at is not None:
            return self.is_made_at(self.upstream_created_at, video)
        # What has ended does not run again.
        return video.phase != Phase.RUNNING or self.state not in {
            SubmissionState.STORED,
            SubmissionState.FAILED,
        }

    @staticmethod
    def is_made_at(created_at: datetime | None, video: Video) -> bool:
        """Whether the upstream dates the video at that time, as far as both are known."""
        if created_at is None or video.created_at is None:
            return True
        # Less than a second: some answers count in whole ones.
        return abs(video.created_at - created_at) < timedelta(seconds=1)

    def move(
        self,
        to: SubmissionState,
        *,
        only_from: Iterable[SubmissionState] | None = None,
        detail: dict[str, Any] | None = None,
        **fields: Any,
    ) -> bool:
        """Enters a state if the table allows it from the present one. Returns whether it won.

        Like Job.move, it needs the row lock of the job. A settled cost stays settled. A state that is not
        live ends the submission and clears its due_at, unless one is given.
        """
        table = SUBMISSION_ENTERED_FROM[to]
        allowed = table if only_from is None else table & set(only_from)
        before, cost_before, now = self.state, self.cost_state, database_now()
        if self.cost_state == CostState.SETTLED:
            fields.pop("cost_state", None)
        fields.setdefault("due_at", None)
        fields.setdefault("ended_at", None if to in LIVE else now)
        if before in allowed - LIVE:
            self.job.take_back()
        won = Submission.objects.filter(pk=self.pk, state__in=allowed).update(state=to, **fields)
        after_update(self, won, state=to, **fields)
        if won and self.cost_state != cost_before:
            self._move_money()
        if won:
            JobEvent.record(
                self.job,
                "submission",
                before,
                to,
                now,
                number=self.number,
                detail=detail,
                provider=self.provider.name,
                cause={"code": self.error_code, "message": self.error_message},
            )
            transaction.on_commit(
                partial(submission_moved.send_robust, Submission, submission=copy(self), before=before)
            )
        return bool(won)

    def _move_money(self) -> None:
        """Moves the reservation along with the cost. Under the job's lock."""
        job = self.job
        match self.cost_state:
            case CostState.SETTLED if self.reservation is not None:
                reservations.settle(self.reservation, self.price)
            case CostState.SETTLED:
                # Called absent, and accepted after all when nothing was set aside for it any more.
                self._attach_reservation(reservations.charge(job.owner, job.api_key, self.price))
            case CostState.RELEASED if self.reservation is not None:
                reservations.release(self.reservation)
            case CostState.RETURNED:
                # To the job, for its next attempt; a job that has ended makes none.
                job.attach_reservation(self.reservation)
                self._attach_reservation(None)
                if job.status != JobStatus.PENDING:
                    job.release_reservation()
            case CostState.RESERVED:
                self._attach_reservation(job.reservation)
                job.attach_reservation(None)

    def _attach_reservation(self, reservation: Reservation | None) -> None:
        self.reservation = reservation
        Submission.objects.filter(pk=self.pk).update(reservation=reservation)

    def claim_due(self, lease: float) -> bool:
        """Claims the row's due work for `lease` seconds; False if another worker has it or it is not due."""
        due = Submission.objects.filter(pk=self.pk, state=self.state, due_at__lte=in_database())
        return bool(due.update(due_at=in_database(lease)))
