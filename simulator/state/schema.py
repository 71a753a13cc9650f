"""The tables of the state file."""

from dataclasses import fields

from simulator.jobs import Job

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
    announced INTEGER NOT NULL DEFAULT 0
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

JOB_FIELDS = tuple(field.name for field in fields(Job))
