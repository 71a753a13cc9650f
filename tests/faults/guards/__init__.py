"""The guards of money, of jobs and results, of owners and of callers, as data for tests.faults.mutants."""

from typing import Final

from tests.faults.guards import (
    authentication,
    buckets,
    from_source,
    isolation,
    loss,
    openai,
    reconciling,
    results,
    sending,
    spending,
)
from tests.faults.guards.guard import Guard

GUARDS: Final[tuple[Guard, ...]] = (
    *sending.GUARDS,
    *reconciling.GUARDS,
    *spending.GUARDS,
    *loss.GUARDS,
    *buckets.GUARDS,
    *from_source.GUARDS,
    *results.GUARDS,
    *isolation.GUARDS,
    *authentication.GUARDS,
    *openai.GUARDS,
)
