"""Celery's worker and beat as threads of the web process.

This is safe with a broker in memory: the database rows are the queue, and a lost message costs only a delay.
"""

import threading
from typing import Any

from celery.beat import EmbeddedService
from celery.worker import WorkController
from django.conf import settings

from config.celery import app

_controller: Any = None


def start() -> None:
    """Starts the worker and beat; called once, after any fork."""
    global _controller
    _controller = WorkController(
        app=app,
        pool_cls="threads",
        concurrency=settings.WORK_THREADS,
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=True,
    )
    threading.Thread(target=_controller.start, name="celery-worker", daemon=True).start()
    beat = EmbeddedService(app, thread=True, scheduler_cls=app.conf.beat_scheduler)
    assert isinstance(beat, threading.Thread)
    beat.start()


def stop(*, within: float) -> None:
    """Lets running tasks end, for at most `within` seconds."""
    if _controller is None:
        return
    stopping = threading.Thread(target=_controller.stop, name="celery-stop", daemon=True)
    stopping.start()
    stopping.join(within)
