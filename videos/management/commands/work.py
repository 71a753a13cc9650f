"""`manage.py work`: the periodic work without a broker."""

import logging
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connections

from videos import tasks
from videos.lifecycle.look import Work, look
from videos.upstream import configured

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """Looks for due work and does it, in threads, until it is interrupted."""

    help = "Submit, follow, store and reconcile jobs without a broker, until interrupted."

    def add_arguments(self, parser: CommandParser) -> None:
        """The pace and the width of the work."""
        parser.add_argument(
            "--every", type=float, default=settings.LOOK_SECONDS, help="Seconds between looks."
        )
        parser.add_argument("--threads", type=int, default=settings.WORK_THREADS)

    def handle(self, *args: Any, every: float, threads: int, **options: Any) -> None:
        """Runs until SIGINT or SIGTERM; what has begun is finished first."""
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        running: set[Work] = set()
        with ThreadPoolExecutor(threads, "work") as pool:
            while not stopping.is_set():
                try:
                    found = look(configured())
                except DatabaseError as error:
                    logger.warning("The database does not answer: %s", error)
                    connections.close_all()
                    found = []
                # What is still running from the look before is not started again.
                for work in dict.fromkeys(found):
                    if work not in running:
                        running.add(work)
                        pool.submit(_do, work, running)
                stopping.wait(every)
            pool.shutdown(cancel_futures=True)


def _do(work: Work, running: set[Work]) -> None:
    try:
        getattr(tasks, work.task)(**work.arguments)
    except Exception:
        # As under Celery: one task's failure is logged, and the row is found again.
        logger.exception("%s failed.", work)
    finally:
        running.discard(work)
        connections.close_all()
