"""A job's history. Each change of state in it is a line of the log as well, once it is committed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models, transaction

from videos.log_context import log_change

if TYPE_CHECKING:
    from videos.models.job import Job


class JobEvent(models.Model):
    """One line of a job's history, written in the transaction of the move. Append-only."""

    job = models.ForeignKey("videos.Job", models.CASCADE, related_name="events")
    number = models.PositiveIntegerField()
    # "job", "submission" or "result".
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
        """Appends to the job's history, under the job's row lock. `logged` is said in the log alone."""
        cls.append(at, Line(job, subject, before, after, number, detail or {}, logged))

    @classmethod
    def append(cls, at: Any, *lines: "Line") -> None:
        """Appends to the histories of jobs, in this order. The row locks of the jobs make the numbers
        unique."""
        last = cls._numbers([line.job for line in lines])
        rows: list[JobEvent] = []
        for line in lines:
            last[line.job.pk] += 1
            rows.append(
                JobEvent(
                    job=line.job,
                    number=last[line.job.pk],
                    subject=line.subject,
                    submission_number=line.number,
                    from_state=line.before,
                    to_state=line.after,
                    detail=line.detail,
                    created_at=at,
                )
            )
        JobEvent.objects.bulk_create(rows)
        for line in lines:
            if line.before != line.after:
                line.log_committed()

    @classmethod
    def _numbers(cls, jobs: "Iterable[Job]") -> "Counter[UUID]":
        """The number of the last line of each."""
        known = cls.objects.filter(job__in={job.pk for job in jobs}).order_by()
        return Counter(dict(known.values_list("job").annotate(models.Max("number"))))

    @classmethod
    def record_together(
        cls, jobs: "Sequence[Job]", before: str, after: str, at: Any, *, detail: dict[str, Any] | None = None
    ) -> None:
        """Appends the same change to the histories of many jobs, under the locks of all."""
        cls.append(at, *(Line(job, "job", before, after, detail=detail or {}) for job in jobs))

    @classmethod
    def drafts(cls, jobs: "Iterable[Job]", status: str, at: Any) -> "list[JobEvent]":
        """The unsaved first lines of jobs that begin in this status."""
        return [
            cls(job=job, number=1, subject="job", from_state="", to_state=status, created_at=at)
            for job in jobs
        ]

    @staticmethod
    def log_committed(jobs: "Iterable[Job]", status: str) -> None:
        """Says in the log that these jobs have begun, once it is committed."""
        for job in jobs:
            Line(job, "job", "", status).log_committed()


@dataclass(frozen=True, slots=True)
class Line:
    """What is to be written into the history of a job: "job", "submission" or "result" has changed its
    state."""

    job: "Job"
    subject: str
    before: str
    after: str
    # Of the submission.
    number: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    # Said in the log alone.
    logged: dict[str, Any] = field(default_factory=dict)

    def log_committed(self) -> None:
        """Says it in the log, once it is committed."""
        logged = dict(self.logged)
        if self.number is not None:
            logged["submission"] = f"{self.job.pk}/{self.number}"
        log = partial(
            log_change, self.job, self.subject, self.before, self.after, detail=self.detail, **logged
        )
        transaction.on_commit(log, robust=True)
