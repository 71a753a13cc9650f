"""What keeps failing is said once a minute, and how often it was left out."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from structlog.contextvars import get_contextvars

from api.logs.events import EACH, LogEvent

EVERY_SECONDS: Final = 60.0
# The attribute of a record, and the field of its line: how many were left out before it.
LEFT_OUT: Final = "left_out"
_MAX_KEPT: Final = 1_000
# What errors are told apart by.
_ABOUT: Final = ("job_id", "batch_id", "request_id")
_NEVER_LEFT_OUT: Final = frozenset(LogEvent)


@dataclass(slots=True)
class _Repeat:
    said_at: float
    left_out: int = 0


class RepeatsFilter(logging.Filter):
    """Lets a warning or an error through at once, and then once a minute while it comes again.

    Two are the same if they have the same logger, level, text without its arguments, and type of exception.
    Errors about two jobs, about two batches or in two requests are never the same. LogEvent lines always
    pass, and so does what is marked with EACH.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._said: OrderedDict[tuple[object, ...], _Repeat] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        text = record.msg.get("event") if isinstance(record.msg, dict) else record.msg
        if (
            record.levelno < logging.WARNING
            or text in _NEVER_LEFT_OUT
            or EACH.items() <= record.__dict__.items()
        ):
            return True
        error = record.exc_info[0] if record.exc_info else None
        about = get_contextvars() if record.levelno >= logging.ERROR else {}
        key = (record.name, record.levelno, str(text), error, *(about.get(name) for name in _ABOUT))
        now = self._clock()
        with self._lock:
            said = self._said.get(key)
            if said is not None and now - said.said_at < EVERY_SECONDS:
                said.left_out += 1
                return False
            left_out = said.left_out if said is not None else 0
            self._said[key] = _Repeat(now)
            self._said.move_to_end(key)
            if len(self._said) > _MAX_KEPT:
                self._said.popitem(last=False)
        setattr(record, LEFT_OUT, left_out)
        return True
