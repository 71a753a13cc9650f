"""What begins and ends to hold an upstream back is said once, after the commit."""

from enum import StrEnum
from functools import partial
from typing import Final

import structlog
from django.db import transaction

from api.logs.events import LogEvent

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

OPEN: Final = "open"


class Block(StrEnum):
    """Why nothing, or less, is sent. An upstream can have several of these at once."""

    STOPPED = "stopped"
    PAUSED = "paused"
    UNRECOGNIZED = "unrecognized"
    TRIPPED = "tripped"
    """The circuit breaker is open."""


def log_blocked(provider: str, block: Block, reason: str) -> None:
    """It is held back from now on."""
    _log(provider, OPEN, block, reason)


def log_unblocked(provider: str, block: Block, reason: str) -> None:
    """This does not hold it back any more."""
    _log(provider, block, OPEN, reason)


def _log(provider: str, before: str, after: str, reason: str) -> None:
    said = {"provider": provider, "from_state": before, "to_state": after, "reason": reason}
    transaction.on_commit(partial(logger.info, LogEvent.UPSTREAM, **said), robust=True)
