"""How far the upstream's clock is from the database's.

A list's answer carries a Date in whole seconds. It was written at some moment between our question and the
end of the answer, so it bounds the difference between the two clocks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from upstreams.client.types import VideoPage
from upstreams.clock import JUST_WRITTEN, database_now
from upstreams.models import Provider

_SECOND: Final = timedelta(seconds=1)
# Two bounds that miss each other by less differ by a drift or by a rounding, and not by a clock that was set.
_DRIFT: Final = timedelta(seconds=1)
# A Date that is further off is that of no clock which could date a video.
_MAX_OFFSET: Final = timedelta(days=1)
# A measurement says nothing of a clock that may have been set since.
FRESH_FOR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Offset:
    """The upstream's time minus the database's is between these two."""

    low: timedelta
    high: timedelta

    @classmethod
    def of(cls, dated: datetime, began: datetime, ended: datetime) -> "Offset":
        """From a moment that the upstream wrote between two moments of the database."""
        return cls(dated - ended, dated + _SECOND - began)

    def and_also(self, other: "Offset") -> "Offset | None":
        """The intersection of both; None if they contradict each other, which means that a clock was set."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        if low > high + _DRIFT:
            return None
        return Offset(min(low, high), max(low, high))


_P = TypeVar("_P", bound=VideoPage)


def measured(provider_id: int, ask: Callable[[], _P]) -> tuple[_P, Offset | None]:
    """Asks for a page; notes on the provider's row how its Date bounds the offset. Raises as `ask` does."""
    began = database_now()
    page = ask()
    ended = database_now()
    if page.dated_at is None:
        return page, None
    offset = Offset.of(page.dated_at, began, ended)
    if max(abs(offset.low), abs(offset.high)) > _MAX_OFFSET:
        return page, None
    Provider.objects.filter(pk=provider_id).update(
        clock_low=offset.low.total_seconds(), clock_high=offset.high.total_seconds(), clock_at=ended
    )
    return page, offset


def last_measured(provider: Provider, now: datetime) -> Offset | None:
    """The last measurement, if it is fresh."""
    if provider.clock_at is None or provider.clock_low is None or provider.clock_high is None:
        return None
    if not -JUST_WRITTEN <= now - provider.clock_at <= FRESH_FOR:
        return None
    return Offset(timedelta(seconds=provider.clock_low), timedelta(seconds=provider.clock_high))
