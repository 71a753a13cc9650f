"""The heartbeats of Celery's own processes."""

import time
from typing import Any, Final

from celery import bootsteps
from celery.beat import Scheduler
from celery.worker import state
from django.conf import settings

from videos.models import Heartbeat
from videos.queue.heartbeats import EVERY_SECONDS, STALE_AFTER, Pulse

# What a worker may be about for longer than one beat is a download; longer than this, it hangs.
_AFTER_DOWNLOAD_SECONDS: Final = 60.0


def has_running_task() -> bool:
    """Whether a slot of this worker runs a task, for no longer than the longest task takes.

    While all slots run long downloads, the message of the heartbeat waits although the worker works.
    """
    longest = settings.SORA_DOWNLOAD_SECONDS + settings.SORA_TIMEOUT + _AFTER_DOWNLOAD_SECONDS
    begun = [request.time_start for request in tuple(state.active_requests) if request.time_start]
    return any(time.time() - at < longest for at in begun)


class WorkerPulse(bootsteps.StartStopStep):
    """Reports from a worker's first process, even before it has reached its broker."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Called when the pool is ready."""
        self._pulse = Pulse(Heartbeat.Role.WORKER, works=has_running_task)
        self._pulse.start()

    def stop(self, parent: Any) -> None:
        """Called when the worker begins to stop."""
        self._pulse.stop()

    terminate = stop


class PulsedScheduler(Scheduler):
    """Beat's scheduler, which reports that it runs and that it has published.

    The two are independent: beat continues to run if it cannot reach the broker.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._ticked_at = time.monotonic()
        self._published = False
        self._pulse = Pulse(Heartbeat.Role.BEAT, works=self._has_published, alive=self._is_ticking)
        self._begun = False
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """One iteration of beat's loop."""
        self._ticked_at = time.monotonic()
        if not self._begun:
            self._begun = True
            self._pulse.start()
        return super().tick(*args, **kwargs)

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Publishes an entry's task; raises if the broker does not take it."""
        result = super().apply_async(*args, **kwargs)
        self._published = True
        return result

    def close(self) -> None:
        """Beat ends."""
        self._pulse.stop()
        super().close()

    def _has_published(self) -> bool:
        published, self._published = self._published, False
        return published

    def _is_ticking(self) -> bool:
        # A tick may wait for a frozen broker, once for each entry that is due.
        return time.monotonic() - self._ticked_at < EVERY_SECONDS + STALE_AFTER.total_seconds()
