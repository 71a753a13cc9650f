"""What the log says, line by line."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from structlog.contextvars import clear_contextvars
from structlog.stdlib import ProcessorFormatter

from config.log_repeats import RepeatsFilter
from config.logs import line

Lines = Callable[..., list[dict[str, Any]]]


@contextmanager
def console(form: str) -> Iterator[io.StringIO]:
    """What the settings' own handler writes in this form; nothing was said before."""
    (handler,) = [
        each for each in logging.getLogger().handlers if isinstance(each.formatter, ProcessorFormatter)
    ]
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    stream, formatter, filters = handler.stream, handler.formatter, handler.filters
    # Not setStream, which flushes the one before: a second session in a process finds that one closed.
    handler.stream = written
    handler.setFormatter(line(form))
    handler.filters = [RepeatsFilter()]
    clear_contextvars()
    yield written
    clear_contextvars()
    handler.stream = stream
    handler.setFormatter(formatter)
    handler.filters = filters


@contextmanager
def json_lines() -> Iterator[Lines]:
    """The lines as objects, or those of one event if it is named."""
    with console("json") as written:

        def said(event: str = "") -> list[dict[str, Any]]:
            found = [json.loads(each) for each in written.getvalue().splitlines()]
            return [each for each in found if not event or each["event"] == event]

        yield said
