"""Every guard that keeps the promise, as data for tests.faults.mutants."""

from typing import Final

from tests.faults.guards import following, rows, sending, unknown, wire
from tests.faults.guards.guard import Guard

GUARDS: Final[tuple[Guard, ...]] = (
    *rows.GUARDS,
    *sending.GUARDS,
    *unknown.GUARDS,
    *following.GUARDS,
    *wire.GUARDS,
)
