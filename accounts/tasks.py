"""Celery tasks of accounts. If one is lost, doubled or late, only the delay changes."""

from typing import Any, Final

from celery import shared_task

from accounts.budgets.counting import count_some
from accounts.idempotency import forget_some
from api.repeats import repeat

# However much there is, one message is carried out for no longer than this, in seconds.
_LONGEST: Final = 1.0


@shared_task(name="accounts.count")
def count(**_: Any) -> None:
    """Brings the counters of what is reserved and spent up to date."""
    repeat(count_some, within=_LONGEST)


@shared_task(name="accounts.forget")
def forget(**_: Any) -> None:
    """Deletes idempotency keys that have expired."""
    repeat(forget_some, within=_LONGEST)
