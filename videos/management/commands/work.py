"""`manage.py work`: the periodic work without a broker."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from celery import current_app
from celery.signals import task_postrun
from django.conf import settings
from django.core.management.base import CommandParser
from django.db import DatabaseError, connections
from django.utils.module_loading import autodiscover_modules

from api.escaping import EscapingCommand
from api.logs.tasks import begin_task
from videos import tasks
from videos.models import Heartbeat
from videos.queue import slots
from videos.queue.dispatch import Work, all_due_work
from videos.queue.heartbeats import Pulse

logger = logging.getLogger(__name__)


class Command(EscapingCommand):
    """Finds due work and does it in threads until it is interrupted."""

    help = "Submit, follow, store and reconcile jobs without a broker, until interrupted."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the interval and the number of threads."""
        parser.add_argument(
            "--every", type=float, default=settings.DISPATCH_SECONDS, help="Seconds between attempts."
        )
        parser.add_argument("--threads", type=int, default=settings.WORK_THREADS)

    def handle(self, *args: Any, every: float, threads: int, **options: Any) -> None:
        """Runs until SIGINT or SIGTERM; what has begun is finished first."""
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        slots.share_out(threads)
        running: set[Work | str] = set()
        periodic = _Periodic()
        pulse = Pulse(Heartbeat.Role.WORK)
        pulse.start()
        with ThreadPoolExecutor(threads, "work") as pool:
            while not stopping.is_set():
                try:
                    found = all_due_work()
                except DatabaseError as error:
                    logger.warning("The database does not answer: %s", error)
                    connections.close_all()
                    found = []
                due: dict[Work | str, Callable[[], Any]] = {
                    work: partial(getattr(tasks, work.task), **work.arguments) for work in found
                }
                due |= periodic.due()
                # What still runs from the dispatch before is not started again.
                for work, call in due.items():
                    if work not in running:
                        running.add(work)
                        pool.submit(_do, work, call, running)
                stopping.wait(every)
            pool.shutdown(cancel_futures=True)
        pulse.stop()


class _Periodic:
    """What beat would publish besides the dispatch: the tasks of other apps."""

    def __init__(self) -> None:
        # As a worker does: the tasks of each app are known once their modules are there.
        autodiscover_modules("tasks")
        schedule: dict[str, dict[str, Any]] = settings.CELERY_BEAT_SCHEDULE
        self._entries = [entry for entry in schedule.values() if entry["task"] != "videos.dispatch"]
        self._next: dict[str, float] = {}

    def due(self) -> dict[Work | str, Callable[[], Any]]:
        """The tasks whose time has come, by name."""
        now = time.monotonic()
        found: dict[Work | str, Callable[[], Any]] = {}
        for entry in self._entries:
            if now >= self._next.get(entry["task"], 0):
                self._next[entry["task"]] = now + entry["schedule"]
                found[entry["task"]] = current_app.tasks[entry["task"]]
        return found


def _do(work: Work | str, call: Callable[[], Any], running: set[Work | str]) -> None:
    begin_task(work if isinstance(work, str) else f"videos.{work.task}")
    try:
        call()
    except Exception:
        # As under Celery: one task's failure is logged, and the row is found again.
        logger.exception("%s failed.", work)
    finally:
        task_postrun.send(_do)
        running.discard(work)
        connections.close_all()
