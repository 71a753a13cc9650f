"""What the log says, line by line."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.contextvars import clear_contextvars
from structlog.stdlib import ProcessorFormatter

from config.log_repeats import RepeatsFilter
from config.logs import line
from tests.batches.conftest import make_batch, renders

__all__ = ["make_batch", "renders"]

Lines = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The lines that the settings' own handler has written as JSON, those of one event if it is named."""
    (handler,) = [
        each for each in logging.getLogger().handlers if isinstance(each.formatter, ProcessorFormatter)
    ]
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    stream, formatter, filters = handler.setStream(written), handler.formatter, handler.filters
    handler.setFormatter(line("json"))
    handler.filters = [RepeatsFilter()]

    def said(event: str = "") -> list[dict[str, Any]]:
        found = [json.loads(each) for each in written.getvalue().splitlines()]
        return [each for each in found if not event or each["event"] == event]

    clear_contextvars()
    yield said
    clear_contextvars()
    handler.setStream(stream)
    handler.setFormatter(formatter)
    handler.filters = filters


@pytest.fixture
def debug() -> Iterator[None]:
    """Lines at DEBUG are written, too."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
