"""The context of one task: nothing that it binds is left to the next one, and its end is logged."""

import logging
import time
from contextvars import ContextVar
from dataclasses import dataclass

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

from api.logs.durations import milliseconds_since
from api.logs.events import LogEvent

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Task:
    """The task that runs in this thread, or for which this thread calls the upstream."""

    begun: float
    has_logged: bool = False


_running: ContextVar[_Task | None] = ContextVar("takeone_running_task", default=None)


def begin_task(name: str) -> None:
    """A task begins in this thread."""
    clear_contextvars()
    bind_contextvars(task=name)
    _running.set(_Task(time.monotonic()))


def note_line(level: int) -> None:
    """A line of this level is written. A task that writes none at INFO or above has done nothing."""
    task = _running.get()
    if task is not None and level >= logging.INFO:
        task.has_logged = True


def end_task(*, failed: bool = False) -> None:
    """The task of this thread has ended: says how long it took, if it has done anything."""
    task = _running.get()
    if task is not None:
        _running.set(None)
        level = logging.INFO if task.has_logged else logging.DEBUG
        logger.log(level, LogEvent.TASK, failed=failed, duration_ms=milliseconds_since(task.begun))
    clear_contextvars()
