"""A job's history. Each change of state in it is a line of the log as well, once it is committed."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import models, transaction

from videos.log_context import log_change

if TYPE_CHECKING:
    from videos.models.job import Job


class JobEvent(models.Model):
    """One line of a job's history, written in the transaction of the move. Append-only."""

    job = models.ForeignKey("videos.Job", models.CASCADE, related_name="events")
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
        job: "Job",
        subject: str,
        before: str,
        after: str,
        at: Any,
        *,
        number: int | None = None,
        detail: dict[str, Any] | None = None,
        **logged: Any,
    ) -> None:
        """Appends to the job's history; the job's row lock makes the number unique. `logged` is said in the
        log alone."""
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
        if before != after:
            if number is not None:
                logged["submission"] = f"{job.pk}/{number}"
            _log_committed([job], subject, before, after, detail, logged)

    @classmethod
    def record_together(
        cls, jobs: "Sequence[Job]", before: str, after: str, at: Any, *, detail: dict[str, Any] | None = None
    ) -> None:
        """Appends the same change to the histories of many jobs, under the locks of all."""
        JobEvent.objects.bulk_create(cls.drafts(jobs, before, after, at, detail=detail))
        cls.log_committed(jobs, before, after, detail=detail)

    @classmethod
    def drafts(
        cls, jobs: "Sequence[Job]", before: str, after: str, at: Any, *, detail: dict[str, Any] | None = None
    ) -> "list[JobEvent]":
        """The unsaved lines of that change. A job that begins has none before."""
        known = (
            cls.objects.filter(job__in=[job.pk for job in jobs]).order_by() if before else cls.objects.none()
        )
        numbers = dict(known.values_list("job").annotate(models.Max("number")))
        return [
            JobEvent(
                job=job,
                number=numbers.get(job.pk, 0) + 1,
                subject="job",
                from_state=before,
                to_state=after,
                detail=detail or {},
                created_at=at,
            )
            for job in jobs
        ]

    @staticmethod
    def log_committed(
        jobs: "Sequence[Job]", before: str, after: str, *, detail: dict[str, Any] | None = None
    ) -> None:
        """Says the change of these jobs in the log, once it is committed."""
        _log_committed(jobs, "job", before, after, detail, {})


def _log_committed(
    jobs: "Sequence[Job]",
    subject: str,
    before: str,
    after: str,
    detail: dict[str, Any] | None,
    logged: dict[str, Any],
) -> None:
    for job in jobs:
        log = partial(log_change, job, subject, before, after, detail=detail or {}, **logged)
        transaction.on_commit(log, robust=True)
