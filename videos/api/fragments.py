"""Lists of jobs as JSON, of which that of ended jobs is kept in memory.

Most of a list has ended long ago, and to write it anew takes longer than all else. Once a job and all its
attempts have ended, whatever changes what is shown of it changes its `updated_at` (`Job.take_back`); and its
links change with the time at which they end.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import orjson
from rest_framework.request import Request

from api.rendering import OrjsonRenderer
from videos.api.queries import Listed
from videos.api.show import base_of, show_jobs
from videos.reads.rows import rows_of
from videos.results.links import Links
from videos.states import JOB_OPEN, LIVE

_MOST_BYTES: Final = 16 * 1024 * 1024
# When it was changed, and when its links end.
_State = tuple[datetime, int]


class _Kept:
    """The JSON of jobs, at most so many bytes of it: what was used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._bytes = 0
        self._texts: OrderedDict[tuple[UUID, str], tuple[_State, bytes]] = OrderedDict()

    def get(self, pk: UUID, base: str, state: _State) -> bytes | None:
        """The JSON of a job in this state."""
        with self._lock:
            kept = self._texts.get((pk, base))
            if kept is None or kept[0] != state:
                return None
            self._texts.move_to_end((pk, base))
            return kept[1]

    def keep(self, pk: UUID, base: str, state: _State, text: bytes) -> None:
        """Keeps it in place of what was kept of the job before."""
        with self._lock:
            before = self._texts.pop((pk, base), None)
            self._bytes += len(text) - (len(before[1]) if before else 0)
            self._texts[pk, base] = state, text
            while self._bytes > self._most:
                _, (_, dropped) = self._texts.popitem(last=False)
                self._bytes -= len(dropped)


_kept: Final = _Kept(_MOST_BYTES)


def listed(jobs: Sequence[Listed], request: Request) -> list[orjson.Fragment]:
    """These jobs in this order, without those that are gone by now."""
    links = Links.now(base_of(request))
    texts: dict[UUID, bytes] = {}
    for job in jobs:
        if text := _kept.get(job.pk, links.base, (job.updated_at, links.expires)):
            texts[job.pk] = text
    rows = rows_of([job.pk for job in jobs if job.pk not in texts])
    renderer = OrjsonRenderer()
    for row, shown in zip(rows, show_jobs(rows, request, links), strict=True):
        texts[row.pk] = text = renderer.render(shown)
        if row.status not in JOB_OPEN and not any(each.state in LIVE for each in row.submissions):
            _kept.keep(row.pk, links.base, (row.updated_at, links.expires), text)
    return [orjson.Fragment(texts[job.pk]) for job in jobs if job.pk in texts]
