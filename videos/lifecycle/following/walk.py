"""Reads an upstream's list back to its oldest render that is due."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings

from upstreams.breaker import respecting_retry_after
from upstreams.client import errors
from upstreams.client.types import VideoPage
from upstreams.models import Call
from upstreams.registry import Upstream

PAGE_LENGTH: Final = 100
# Of one sweep; the next one continues after them.
_MAX_PAGES: Final = 5_000


@dataclass(slots=True)
class Walk:
    """Pages of the list, newest first, from `after` on; back to `oldest`, and until the time `ends`."""

    upstream: Upstream
    # None where the list begins, and once it need not be read on.
    after: str | None
    oldest: datetime
    ends: float
    pages: int = 0
    failure: errors.SoraError | None = None
    _is_done: bool = False

    def is_over(self) -> bool:
        """Whether no more pages are read now."""
        return self._is_done or (
            self.pages > 0 and (self.pages >= _MAX_PAGES or time.monotonic() >= self.ends)
        )

    def begin_anew(self) -> None:
        """Ends it; the next sweep begins at the newest video."""
        self.after = None
        self._is_done = True

    def read(self, most: int) -> list[VideoPage]:
        """The next pages; fewer where it is over, or where they are longer than asked for.

        What the upstream failed with is kept as `failure`; the next sweep goes on behind the last page.
        """
        found: list[VideoPage] = []
        videos = 0
        while len(found) < most and videos < most * PAGE_LENGTH and not self.is_over():
            try:
                with respecting_retry_after(self.upstream, Call.LIST):
                    page = self.upstream.client.list(after=self.after, limit=PAGE_LENGTH, order="desc")
            except errors.NotPaged:
                self.begin_anew()
            except errors.SoraError as error:
                self.failure = error
                self._is_done = True
                if not self.pages:
                    # The place where it was to go on may be what the upstream does not take.
                    self.begin_anew()
            else:
                found.append(page)
                self.pages += 1
                videos += len(page.videos)
                self.after = page.next_after
                if self.after is None or self._is_past(page):
                    self.begin_anew()
        return found

    def _is_past(self, page: VideoPage) -> bool:
        """Whether the page reaches back to before the oldest."""
        start = self.oldest.replace(microsecond=0) - timedelta(seconds=settings.SORA_CLOCK_SKEW)
        return any(video.created_at is not None and video.created_at < start for video in page.videos)
