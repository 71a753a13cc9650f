"""Upstreams that a job is not sent to."""

from django.db import models

from upstreams.models import Provider
from videos.models.job import Job


class Exclusion(models.Model):
    """A pending job is not sent to this provider: it refused the job, or cannot render it as asked."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="exclusions")
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="+")
    reason = models.TextField(blank=True)
    # Null: until the job is retried.
    until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "provider"], name="exclusion_once")]

    def __str__(self) -> str:
        return f"{self.job_id} not at {self.provider}: {self.reason}"
