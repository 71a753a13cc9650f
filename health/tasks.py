"""Celery tasks of monitoring."""

from typing import Any

from celery import Task, shared_task

from health.metrics.snapshot import measure_if_due
from videos.models import Heartbeat
from videos.queue import heartbeats


@shared_task(name="health.heartbeat", bind=True)
def heartbeat(self: "Task[..., None]", /, **_: Any) -> None:
    """Records that a worker does tasks. It takes the same way as other tasks."""
    # `manage.py work` calls its tasks, without a message.
    direct = self.request.called_directly
    heartbeats.record(Heartbeat.Role.WORK if direct else Heartbeat.Role.WORKER, worked=True)


@shared_task(name="health.measure")
def measure(**_: Any) -> None:
    """Counts what /metrics shows, if that is due."""
    measure_if_due()
