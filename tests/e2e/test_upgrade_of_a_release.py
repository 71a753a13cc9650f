"""A database of each release, with rows in every state, is brought up to date and its work goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import run
from tests.upgrades import released

pytestmark = pytest.mark.e2e

# What the caller is told of each job, whose prompt says what it was: status, stage, dollars paid, error.
TOLD = {
    "stored": ["completed", None, "0.40", None],
    "failed": ["failed", None, "0.00", "moderation_blocked"],
    "failed at a price": ["failed", None, "0.40", "moderation_blocked"],
    "lost": ["failed", None, "0.40", "upstream_lost"],
    "given up": ["failed", None, "0.40", "gave_up"],
    "given up without an id": ["failed", None, "0.40", "gave_up"],
    "rejected": ["failed", None, "0.00", "SORA_SUBMISSION_FAILED"],
    "cancelled": ["cancelled", None, "0.00", None],
    "dropped": ["cancelled", None, "0.40", None],
    "stopped": ["cancelled", None, "0.00", None],
    "rendering": ["processing", "rendering", "0.00", None],
    "rendered": ["processing", "rendered", "0.40", None],
    "dropping": ["cancelled", "dropping", "0.40", None],
    "stopping": ["cancelled", "dropping", "0.00", None],
    "given up and asked for again": ["processing", "rendering", "0.40", None],
    "unknown": ["pending", "unknown", "0.00", None],
    "cancelled in a batch": ["cancelled", None, "0.00", None],
    "stored in a batch": ["completed", None, "0.40", None],
    "failed in a batch": ["failed", None, "0.00", "moderation_blocked"],
    "stored beside a failed one": ["completed", None, "0.40", None],
    "failed beside a stored one": ["failed", None, "0.00", "moderation_blocked"],
    "rendering in a batch": ["processing", "rendering", "0.00", None],
    "asked for again in a batch": ["pending", None, "0.00", None],
    "paused in a batch": ["pending", None, "0.00", None],
    "absent": ["pending", None, "0.00", None],
    "unsent": ["pending", None, "0.00", None],
    "sending": ["pending", "sending", "0.00", None],
    "pending": ["pending", None, "0.00", None],
    "urgent": ["pending", None, "0.00", None],
    "pending in a batch": ["pending", None, "0.00", None],
    "of a revoked key": ["pending", "held", "0.00", None],
}
# Batches and keys by their names.
BATCHES = {
    "cancelled": "cancelled",
    "completed": "completed",
    "failed": "failed",
    "partial": "partial",
    "paused": "pending",
    "pending": "pending",
    "processing": "processing",
    "reopened": "pending",
}
KEYS = {
    "a program": "active",
    "expired": "expired",
    "later": "active",
    "revoked": "revoked",
    "scope admin": "active",
    "scope read": "active",
}
# By the same prompts: where each job and its submissions stand once the work has gone on.
CAME_TO = {
    "stored": ["completed", "stored"],
    "failed": ["failed", "failed"],
    "failed at a price": ["failed", "failed"],
    "lost": ["failed", "lost"],
    "given up": ["failed", "given_up"],
    "given up without an id": ["failed", "given_up"],
    "rejected": ["failed", "rejected"],
    "cancelled": ["cancelled"],
    "dropped": ["cancelled", "dropped"],
    "stopped": ["cancelled", "dropped"],
    "rendering": ["completed", "stored"],
    "rendered": ["completed", "stored"],
    "dropping": ["cancelled", "dropped"],
    "stopping": ["cancelled", "dropped"],
    "given up and asked for again": ["completed", "stored"],
    "unknown": ["completed", "stored"],
    "cancelled in a batch": ["cancelled"],
    "stored in a batch": ["completed", "stored"],
    "failed in a batch": ["failed", "failed"],
    "stored beside a failed one": ["completed", "stored"],
    "failed beside a stored one": ["failed", "failed"],
    "rendering in a batch": ["completed", "stored"],
    "asked for again in a batch": ["completed", "failed", "stored"],
    "paused in a batch": ["pending"],
    "absent": ["completed", "absent", "stored"],
    "unsent": ["completed", "unsent", "stored"],
    "sending": ["completed", "absent", "stored"],
    "pending": ["completed", "stored"],
    "urgent": ["completed", "stored"],
    "pending in a batch": ["completed", "stored"],
    "of a revoked key": ["pending"],
    "of a deactivated account": ["pending"],
}
# These alone had not been accepted, and are sent, and paid, once.
SENT = [
    "absent",
    "asked for again in a batch",
    "pending",
    "pending in a batch",
    "sending",
    "unsent",
    "urgent",
]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The settings of an empty database."""
    chosen = {"TAKEONE_VAR": str(tmp_path), "LOG_LEVEL": "ERROR"}
    if request.param == "postgresql":
        chosen["DATABASE_URL"] = request.getfixturevalue("database")
    return chosen


def step(release: str, name: str, environment: dict[str, str]) -> dict[str, Any]:
    output = run(["-m", "tests.upgrades.database", release, name], environment)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


@pytest.mark.parametrize("release", released.releases())
def test_a_database_of_a_release_is_brought_up_to_date_and_its_work_goes_on(
    release: str, environment: dict[str, str]
) -> None:
    before = step(release, "make", environment)
    assert all(before.values())
    behind = len(released.migrations_of(release)) < len(released.migrations())
    assert ("migrations are pending" in step(release, "ready", environment)["repository"]) == behind
    if behind:
        with pytest.raises(pytest.fail.Exception, match="is behind this version"):
            run(["manage.py", "undecided"], environment)
    run(["manage.py", "migrate", "--verbosity", "0"], environment)
    after = step(release, "show", environment)
    for table, rows in before.items():
        assert after[table] == rows, table
    run(["manage.py", "undecided"], environment)
    assert step(release, "ready", environment)["repository"] == "healthy"
    told = step(release, "answer", environment)
    assert (told["jobs"], told["batches"], told["keys"]) == (TOLD, BATCHES, KEYS)
    went_on = step(release, "go_on", environment)
    assert went_on["jobs"] == CAME_TO
    assert went_on["sent"] == SENT
