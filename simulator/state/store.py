"""The state file: jobs, the ledger of paid creates, characters and webhook events, in SQLite."""

import fcntl
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from simulator.jobs import Fate, Job
from simulator.state.records import Event, Receipt
from simulator.state.schema import job_of, prepare, row_of

_LOCK_WAIT_SECONDS = 3.0
_MAX_NUMBER = 2**63 - 1
# Between the id that a forgotten job had and its number.
FORGOTTEN = "\x1f"


class StateTaken(Exception):
    """Another simulator holds the state file."""


class Store:
    """Opens and locks `path` for this process; raises StateTaken after 3 s of another's lock."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path.with_name(path.name + ".lock"))
        self._db = sqlite3.connect(path, isolation_level=None)
        # WAL with NORMAL loses nothing to SIGKILL; only a power cut may cost the last instants.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        prepare(self._db)

    def close(self) -> None:
        self._db.close()
        self._lock.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def add(self, job: Job, receipt: Receipt) -> Job:
        """Makes a job and its ledger entry in one step; returns the job with its number."""
        row = row_of(job)
        with self._transaction() as db:
            places = ", ".join("?" * len(row))
            number = db.execute(f"INSERT INTO jobs VALUES (NULL, {places})", row).lastrowid  # noqa: S608
            assert number is not None
            db.execute(
                "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(number, receipt.method, receipt.path, json.dumps(receipt.headers), receipt.body),
                    *(job.model, receipt.seconds, job.size, job.prompt, receipt.price),
                ),
            )
        return replace(job, number=number)

    def job(self, video_id: str) -> Job | None:
        """The job, also a deleted one."""
        found = self._jobs("SELECT * FROM jobs WHERE id = ?", video_id)
        return found[0] if found else None

    def page(self, *, now: float, after: int | None, limit: int, descending: bool) -> list[Job]:
        """Up to `limit` jobs that the list shows, by creation."""
        if descending:
            statement = (
                "SELECT * FROM jobs WHERE deleted_at IS NULL AND number < ? ORDER BY number DESC LIMIT ?"
            )
        else:
            statement = "SELECT * FROM jobs WHERE deleted_at IS NULL AND number > ? ORDER BY number LIMIT ?"
        beyond = after if after is not None else (_MAX_NUMBER if descending else 0)
        shown: list[Job] = []
        while len(shown) < limit:
            rows = self._jobs(statement, beyond, limit)
            shown += [
                job for job in rows if not job.fate.unlisted and now >= job.created_at + job.fate.listed_after
            ]
            if len(rows) < limit:
                break
            beyond = rows[-1].number
        return shown[:limit]

    def listed(self, now: float) -> list[Job]:
        """All jobs that the list shows, oldest first."""
        return self.page(now=now, after=None, limit=_MAX_NUMBER, descending=False)

    def running(self, now: float) -> int:
        """How many jobs run."""
        statement = "SELECT count(*) FROM jobs WHERE deleted_at IS NULL AND coalesce(settles_at > ?, 1)"
        return int(self._db.execute(statement, (now,)).fetchone()[0])

    def made_since(self, moment: float) -> int:
        """How many jobs were made since then, without those that were dropped with their ids."""
        statement = "SELECT count(*) FROM jobs WHERE created_at > ? AND instr(id, ?) = 0"
        return int(self._db.execute(statement, (moment, FORGOTTEN)).fetchone()[0])

    def to_render(self) -> list[Job]:
        """Jobs whose clip is still to be made, oldest first."""
        return self._jobs("SELECT * FROM jobs WHERE awaits_file = 1 AND deleted_at IS NULL ORDER BY number")

    def oldest_ended(self, now: float) -> Job | None:
        """The first job that has ended and is not deleted."""
        found = self._jobs(
            "SELECT * FROM jobs WHERE deleted_at IS NULL AND settles_at <= ? ORDER BY number LIMIT 1", now
        )
        return found[0] if found else None

    def forget(self, job: Job, now: float) -> None:
        """Drops a job whose id goes to another; the ledger keeps both under that id."""
        self._db.execute(
            "UPDATE jobs SET deleted_at = ?, id = ? WHERE number = ?",
            (now, f"{job.id}{FORGOTTEN}{job.number}", job.number),
        )

    def forget_all(self, now: float) -> int:
        """Drops every job and event, as a server does that keeps them in memory; says how many jobs.

        The ledger keeps them, and their ids may be given again.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM events")
            return db.execute(
                "UPDATE jobs SET deleted_at = coalesce(deleted_at, ?), announced = 1, id = id || ? || number"
                " WHERE instr(id, ?) = 0",
                (now, FORGOTTEN, FORGOTTEN),
            ).rowcount

    def next_count(self) -> int:
        """How many jobs there will be with the next one, without those that were dropped with their ids."""
        row = self._db.execute(
            "SELECT count(*) + 1 FROM jobs WHERE instr(id, ?) = 0", (FORGOTTEN,)
        ).fetchone()
        return int(row[0])

    def ready(self, job: Job, now: float) -> None:
        """The clip is there: the job ends when its render time is over."""
        self._db.execute(
            "UPDATE jobs SET awaits_file = 0, settles_at = max(created_at + render_seconds, ?)"
            " WHERE number = ? AND awaits_file = 1",
            (now, job.number),
        )

    def decide(self, job: Job, fate: Fate, settles_at: float | None) -> None:
        """Gives a job another fate."""
        self._db.execute(
            "UPDATE jobs SET fate = ?, settles_at = ?, awaits_file = ? WHERE number = ?",
            (fate.dump(), settles_at, fate.needs_file and settles_at is None, job.number),
        )

    def delete(self, job: Job, now: float) -> None:
        self._db.execute("UPDATE jobs SET deleted_at = ? WHERE number = ?", (now, job.number))

    def ledger(self, *, after: int = 0, limit: int = -1) -> Iterator[tuple[Job, Receipt]]:
        """The paid creates, oldest first; `limit` -1 is all."""
        rows = self._db.execute(
            "SELECT ledger.method, ledger.path, ledger.headers, ledger.body, ledger.seconds, ledger.price,"
            " jobs.* FROM ledger JOIN jobs USING (number)"
            " WHERE ledger.number > ? ORDER BY ledger.number LIMIT ?",
            (after, limit),
        )
        for row in rows:
            method, path, headers, body, seconds, price = row[:6]
            yield job_of(row[6:]), Receipt(method, path, json.loads(headers), body, seconds, price)

    def add_character(self, character_id: str, name: str, now: float) -> None:
        self._db.execute("INSERT INTO characters VALUES (?, ?, ?)", (character_id, name, now))

    def character(self, character_id: str) -> tuple[str, float] | None:
        """Name and creation time."""
        row: tuple[str, float] | None = self._db.execute(
            "SELECT name, created_at FROM characters WHERE id = ?", (character_id,)
        ).fetchone()
        return row

    def next_end(self) -> tuple[Job, float] | None:
        """The job that ends first among those not announced, and when."""
        found = self._jobs(
            "SELECT * FROM jobs WHERE announced = 0 AND settles_at IS NOT NULL ORDER BY settles_at LIMIT 1"
        )
        return (found[0], found[0].settles_at) if found and found[0].settles_at is not None else None

    def announce(self, job: Job, event: Event | None) -> None:
        """Marks a job's end as announced, with the event to deliver if there is one."""
        with self._transaction() as db:
            db.execute("UPDATE jobs SET announced = 1 WHERE number = ?", (job.number,))
            if event is not None:
                db.execute(
                    "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
                    (event.webhook_id, event.video_id, event.body, event.created_at, 0, event.due_at),
                )

    def next_events(self, limit: int) -> list[Event]:
        """The events whose delivery is due first."""
        rows = self._db.execute(
            "SELECT webhook_id, video_id, body, created_at, attempts, due_at FROM events"
            " WHERE due_at IS NOT NULL ORDER BY due_at LIMIT ?",
            (limit,),
        )
        return [Event(*row) for row in rows]

    def attempted(self, event: Event, due_at: float | None) -> None:
        """Counts a delivery; `due_at` None settles the event."""
        self._db.execute(
            "UPDATE events SET attempts = attempts + 1, due_at = ? WHERE webhook_id = ?",
            (due_at, event.webhook_id),
        )

    def attempts(self, video_id: str) -> int:
        """Deliveries tried for a job's events."""
        row = self._db.execute("SELECT sum(attempts) FROM events WHERE video_id = ?", (video_id,)).fetchone()
        return int(row[0] or 0)

    def _jobs(self, statement: str, *values: Any) -> list[Job]:
        return [job_of(row) for row in self._db.execute(statement, values)]


def _locked(path: Path) -> BinaryIO:
    # A file of its own: closing any handle on the database would drop SQLite's locks on it.
    handle = path.open("ab")
    waits_until = time.monotonic() + _LOCK_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() >= waits_until:
                handle.close()
                raise StateTaken("another simulator uses it") from None
        # A predecessor may just be dying.
        time.sleep(0.05)
