"""One line for each request that is answered."""

import logging
from typing import Final

import structlog

from api.logs.durations import milliseconds_since
from api.logs.events import LogEvent

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

# Probes ask all day long, and what they find is logged by itself when it changes.
_PROBED: Final = frozenset({"/health", "/ready", "/metrics"})
# What follows these in a path is a secret that opens it.
_SECRET_AFTER: Final = ("/hooks/callbacks/",)
# Anybody may ask for an address of any length.
_PATH_MAX_LENGTH: Final = 200


def log_request(method: str, path: str, status: int, begun: float, **fields: object) -> None:
    """Says what was answered; `begun` is a time of time.monotonic(). The path comes without its query, which
    may hold a secret."""
    level = logging.DEBUG if path in _PROBED else logging.INFO
    logger.log(
        level,
        LogEvent.REQUEST,
        method=method[:20],
        path=shown_path(path),
        status=status,
        duration_ms=milliseconds_since(begun),
        **fields,
    )


def shown_path(path: str) -> str:
    """The path as the log shows it: cut, and without the secret in it."""
    for before in _SECRET_AFTER:
        if path.startswith(before):
            return f"{before}…"
    return path[:_PATH_MAX_LENGTH]
