"""The last heartbeats of the processes that do the work."""

from datetime import datetime

from django.db import models


class Heartbeat(models.Model):
    """One row for each role, written by any process of that role.

    It is in the database, because every deployment has one: the embedded one has no Redis, and Redis may be
    the part that is down.
    """

    class Role(models.TextChoices):
        """The role of the process that reports."""

        WORKER = "worker"
        """A Celery worker; its work is tasks that it has done."""
        BEAT = "beat"
        """Celery's beat; its work is messages that it has published."""
        WORK = "work"
        """`manage.py work`, which needs neither a broker nor beat."""

    role = models.CharField(max_length=10, choices=Role, unique=True)
    # When the process last ran.
    alive_at = models.DateTimeField()
    # When it last did its work, and since when it has done so without a gap.
    worked_at = models.DateTimeField(null=True)
    working_since = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.role} {self.alive_at}"

    @property
    def seen_at(self) -> datetime:
        """The last heartbeat of either kind."""
        return max(self.alive_at, self.worked_at or self.alive_at)
