"""Every guard that keeps the promise, as data for tests.faults.mutants."""

from typing import Final

from tests.faults.guards import (
    audits,
    callers,
    decisions,
    following,
    hints,
    keys,
    limits,
    lockout,
    many,
    people,
    queueing,
    restraint,
    rows,
    sending,
    sessions,
    spending,
    start,
    unknown,
    wire,
)
from tests.faults.guards.guard import Guard

GUARDS: Final[tuple[Guard, ...]] = (
    *rows.GUARDS,
    *callers.GUARDS,
    *keys.GUARDS,
    *sessions.GUARDS,
    *people.GUARDS,
    *lockout.GUARDS,
    *sending.GUARDS,
    *queueing.GUARDS,
    *restraint.GUARDS,
    *limits.GUARDS,
    *spending.GUARDS,
    *unknown.GUARDS,
    *following.GUARDS,
    *hints.GUARDS,
    *audits.GUARDS,
    *decisions.GUARDS,
    *many.GUARDS,
    *wire.GUARDS,
    *start.GUARDS,
)
