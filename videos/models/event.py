"""A job's history."""

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from videos.models.job import Job


class JobEvent(models.Model):
    """One line of a job's history, written in the transaction of the move that it tells of. Append-only."""

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
