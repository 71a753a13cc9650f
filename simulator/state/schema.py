"""The tables of the state file, and how a job is written in them."""

import json
import sqlite3
from dataclasses import fields
from typing import Any

from simulator.jobs import Fate, Job

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created_at REAL NOT NULL,
    model TEXT NOT NULL,
    seconds INTEGER NOT NULL,
    size TEXT NOT NULL,
    prompt TEXT NOT NULL,
    source_id TEXT,
    extensions INTEGER NOT NULL,
    render_seconds REAL NOT NULL,
    expires_seconds REAL NOT NULL,
    settles_at REAL,
    awaits_file INTEGER NOT NULL,
    has_reference INTEGER NOT NULL,
    deleted_at REAL,
    fate TEXT NOT NULL,
    announced INTEGER NOT NULL DEFAULT 0,
    asked TEXT NOT NULL DEFAULT '{}'
);
-- What the announcer attempts for: the next end that no event was made of.
CREATE INDEX IF NOT EXISTS jobs_to_announce ON jobs (settles_at)
    WHERE announced = 0 AND settles_at IS NOT NULL;
-- What a start attempts for: clips still to be made.
CREATE INDEX IF NOT EXISTS jobs_to_render ON jobs (number) WHERE awaits_file = 1;
CREATE TABLE IF NOT EXISTS ledger (
    number INTEGER PRIMARY KEY,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL,
    model TEXT NOT NULL,
    seconds INTEGER NOT NULL,
    size TEXT NOT NULL,
    prompt TEXT NOT NULL,
    price TEXT
);
CREATE TABLE IF NOT EXISTS characters (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    webhook_id TEXT PRIMARY KEY,
    video_id TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL
);
-- What the sender attempts for: the next delivery; a settled event has no due_at.
CREATE INDEX IF NOT EXISTS events_due ON events (due_at) WHERE due_at IS NOT NULL;
"""

_FIELDS = tuple(field.name for field in fields(Job) if field.name != "asked")


def prepare(db: sqlite3.Connection) -> None:
    """Makes what is missing, also in a file of an earlier version."""
    db.executescript(SCHEMA)
    if "asked" not in {row[1] for row in db.execute("PRAGMA table_info(jobs)")}:
        db.execute("ALTER TABLE jobs ADD COLUMN asked TEXT NOT NULL DEFAULT '{}'")


def row_of(job: Job) -> tuple[Any, ...]:
    """The columns of a new job, after its number."""
    return (
        *(job.id, job.kind, job.created_at, job.model, job.seconds, job.size, job.prompt, job.source_id),
        *(job.extensions, job.render_seconds, job.expires_seconds, job.settles_at, job.awaits_file),
        *(job.has_reference, job.deleted_at, job.fate.dump(), False, json.dumps(job.asked)),
    )


def job_of(row: tuple[Any, ...]) -> Job:
    """The job of a whole row: its fields in their order, `announced`, and `asked`."""
    values: dict[str, Any] = dict(zip(_FIELDS, row, strict=False))
    for flag in ("awaits_file", "has_reference"):
        values[flag] = bool(values[flag])
    return Job(**values | {"fate": Fate.load(values["fate"]), "asked": json.loads(row[-1])})
