"""How much of a worker each kind of work may take, so that no kind can block all of it.

A worker is the threads of one process, or the processes of one prefork pool. A task that finds no slot
returns at once: the row stays due, and the next dispatch finds it.
"""

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from django.conf import settings


class Kind(StrEnum):
    """Kinds of work that an upstream can make slow. The remaining threads are for all other work."""

    SEND = "send"
    CALL = "call"
    DOWNLOAD = "download"


# Eighths of the worker's threads.
_SHARES: Final = {Kind.SEND: 2, Kind.CALL: 2, Kind.DOWNLOAD: 3}


class Slots:
    """Slots that the threads of a process and its forked processes share.

    The kernel frees the slots of a killed process.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        # Each slot is a lock on one byte of a file without a name, which forked processes share.
        self._file, path = tempfile.mkstemp(prefix="takeone-slots-")
        os.unlink(path)

    def take(self, *, repeated: bool) -> int | None:
        """Takes a free slot, or returns None. Retries may take only half of the slots."""
        with self._lock:
            for slot in range(max(1, self._most // 2) if repeated else self._most):
                if slot not in self._taken and self._lock_byte(slot):
                    self._taken.add(slot)
                    return slot
        return None

    def give_back(self, slot: int) -> None:
        """Frees a slot that was taken."""
        with self._lock:
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
        _opened.update({kind: Slots(max(1, count * share // 8)) for kind, share in _SHARES.items()})


@contextmanager
def slot(kind: Kind, *, repeated: bool = False) -> Iterator[bool]:
    """Takes a slot of this kind while it is active, and says whether there was one."""
    if kind not in _opened:
        share_out(settings.WORK_THREADS)
    slots = _opened[kind]
    taken = slots.take(repeated=repeated)
    try:
        yield taken is not None
    finally:
        if taken is not None:
            slots.give_back(taken)
