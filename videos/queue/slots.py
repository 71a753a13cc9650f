"""How much of a worker each kind of work may take, so that no kind can block all of it.

A worker is the threads of one process, or the processes of one prefork pool. A task that finds no slot
returns at once: the row stays due, and the next dispatch finds it. Of several upstreams each has slots that
the others never take, so a slow one does not block them.
"""

import fcntl
import math
import os
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from django.conf import settings

from upstreams import registry


class Kind(StrEnum):
    """Kinds of work that an upstream can make slow. The remaining threads are for all other work."""

    SEND = "send"
    CALL = "call"
    DOWNLOAD = "download"


# Since when a slot is taken.
_SINCE: Final = struct.Struct("d")
# Eighths of the worker's threads.
_SHARES: Final = {Kind.SEND: 2, Kind.CALL: 2, Kind.DOWNLOAD: 3}


class Slots:
    """Slots that the threads of a process and its forked processes share.

    The kernel frees the slots of a killed process. A frozen one keeps its slot. Once it has had that for
    longer than `longest` seconds, which no work takes, there is another one in its place.
    """

    def __init__(self, most: int, *, longest: float) -> None:
        self._most = most
        self._longest = longest
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        # Each slot is a lock on one byte of a file without a name, which forked processes share.
        self._file, path = tempfile.mkstemp(prefix="takeone-slots-")
        os.unlink(path)
        for slot in range(2 * most):
            self._note(slot, math.inf)

    def take(self, *, repeated: bool, place: int = 0, places: int = 1) -> int | None:
        """Takes a free slot, or returns None. Retries may take only half of the slots.

        `place`: the number of the upstream among `places` of them. It has a slot of its own, or shares one
        with some of them if there are more upstreams than slots. The slots beyond are for all.
        """
        mine = [slot for slot in range(self._most) if slot == place % self._most or slot >= places]
        with self._lock:
            # First tries take the first slots, which repeated ones may take as well, last.
            for slot in mine[: max(1, len(mine) // 2)] if repeated else reversed(mine):
                if self._take(slot):
                    return slot
                if self._is_held_too_long(slot) and self._take(slot + self._most):
                    return slot + self._most
        return None

    def _take(self, slot: int) -> bool:
        if slot in self._taken or not self._lock_byte(slot):
            return False
        self._taken.add(slot)
        # A machine has one such clock for all of its processes.
        self._note(slot, time.monotonic())
        return True

    def _note(self, slot: int, since: float) -> None:
        os.pwrite(self._file, _SINCE.pack(since), slot * _SINCE.size)

    def _is_held_too_long(self, slot: int) -> bool:
        (since,) = _SINCE.unpack(os.pread(self._file, _SINCE.size, slot * _SINCE.size))
        return bool(time.monotonic() - since > self._longest)

    def give_back(self, slot: int) -> None:
        """Frees a slot that was taken."""
        with self._lock:
            self._note(slot, math.inf)
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)
            self._taken.discard(slot)

    def close(self) -> None:
        """Closes the slots after their last use."""
        with self._lock:
            os.close(self._file)

    def _lock_byte(self, slot: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            # Another process of the pool has it.
            return False
        return True


_opened: dict[Kind, Slots] = {}
_opening = threading.Lock()


def share_out(threads: int | str | None) -> None:
    """Sets how many threads, or processes, this worker has. Called before it forks any."""
    count = threads if isinstance(threads, int) and threads > 0 else os.cpu_count() or 2
    with _opening:
        for old in _opened.values():
            old.close()
        _opened.update(
            {
                kind: Slots(max(1, count * share // 8), longest=_longest(kind))
                for kind, share in _SHARES.items()
            }
        )


def _longest(kind: Kind) -> float:
    """More seconds than work of this kind has a slot for."""
    longest: float = 4 * settings.SORA_TIMEOUT + 60
    return longest if kind is Kind.SEND else longest + settings.SORA_DOWNLOAD_SECONDS


@contextmanager
def slot(kind: Kind, provider: str, *, repeated: bool = False) -> Iterator[bool]:
    """Takes a slot of this kind for the upstream of this name while it is active, and says whether there was
    one."""
    if kind not in _opened:
        share_out(settings.WORK_THREADS)
    slots = _opened[kind]
    names = [upstream.name for upstream in registry.configured()]
    place = names.index(provider) if provider in names else 0
    taken = slots.take(repeated=repeated, place=place, places=len(names))
    try:
        yield taken is not None
    finally:
        if taken is not None:
            slots.give_back(taken)
