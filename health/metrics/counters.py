"""Counters and histograms. Every process counts in memory and regularly adds its counts to the database."""

import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from django.db import DatabaseError, connection, transaction

logger = logging.getLogger(__name__)

_FLUSH_SECONDS: Final = 2.0
# Of one statement; SQLite takes 32,766 parameters.
_ROWS: Final = 500
Key = tuple[str, str]


def encode(labels: Mapping[str, str]) -> str:
    """Labels as the database stores them."""
    return json.dumps(labels, sort_keys=True, separators=(",", ":"))


class Counters:
    """What this process has counted and not yet added to the database's counters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[Key, float] = defaultdict(float)
        self._flushed_at = 0.0

    def add(self, name: str, labels: Mapping[str, str], amount: float = 1) -> None:
        """Counts without waiting."""
        with self._lock:
            self._pending[name, encode(labels)] += amount

    def observe(self, name: str, labels: Mapping[str, str], value: float, bounds: Sequence[float]) -> None:
        """Adds one value to a histogram with these upper bounds."""
        bound = next((f"{each:g}" for each in bounds if value <= each), "+Inf")
        with self._lock:
            self._pending[f"{name}_bucket", encode({**labels, "le": bound})] += 1
            self._pending[f"{name}_sum", encode(labels)] += value

    def flush_if_due(self) -> None:
        """Flushes if the last flush was two seconds ago. Keeps the counts if the database does not accept
        them."""
        if time.monotonic() - self._flushed_at < _FLUSH_SECONDS:
            return
        try:
            self.flush()
        except DatabaseError as error:
            logger.debug("Counters are kept until later: %s", error)

    def flush(self) -> None:
        """Adds the counts to the database's counters. If it raises DatabaseError, it keeps them."""
        with self._lock:
            taken, self._pending = self._pending, defaultdict(float)
            self._flushed_at = time.monotonic()
        if not taken:
            return
        try:
            _add(taken)
        except BaseException:
            with self._lock:
                for key, amount in taken.items():
                    self._pending[key] += amount
            raise

    def forget(self) -> None:
        """Drops what was not flushed, as a new process begins."""
        with self._lock:
            self._pending = defaultdict(float)


def _add(amounts: Mapping[Key, float]) -> None:
    # In one order in every process: two that add to the same rows never wait for each other in a circle.
    rows = [(*key, amount) for key, amount in sorted(amounts.items())]
    with transaction.atomic(), connection.cursor() as cursor:
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            # Only placeholders are put together here.
            cursor.execute(
                "INSERT INTO health_counter (name, labels, value) VALUES "  # noqa: S608
                + ", ".join(["(%s, %s, %s)"] * len(part))
                + " ON CONFLICT (name, labels) DO UPDATE SET value = health_counter.value + excluded.value",
                [each for row in part for each in row],
            )


counters: Final = Counters()
