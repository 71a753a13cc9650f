"""A database of each release, with rows in every state, is brought up to date and its work goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import run
from tests.upgrades import released

pytestmark = pytest.mark.e2e

# By the prompt of each job, which says what it was: where it and its submissions stand in the end.
CAME_TO = {
    "stored": ["completed", "stored"],
    "failed": ["failed", "failed"],
    "lost": ["failed", "lost"],
    "given up": ["failed", "given_up"],
    "given up without an id": ["failed", "given_up"],
    "rejected": ["failed", "rejected"],
    "cancelled": ["cancelled"],
    "dropped": ["cancelled", "dropped"],
    "rendering": ["completed", "stored"],
    "rendered": ["completed", "stored"],
    "dropping": ["cancelled", "dropped"],
    "unknown": ["completed", "stored"],
    "cancelled in a batch": ["cancelled"],
    "stored in a batch": ["completed", "stored"],
    "paused in a batch": ["pending"],
    "absent": ["completed", "absent", "stored"],
    "unsent": ["completed", "unsent", "stored"],
    "sending": ["completed", "absent", "stored"],
    "pending": ["completed", "stored"],
    "pending in a batch": ["completed", "stored"],
}
# These alone had not been accepted, and are sent, and paid, once.
SENT = ["absent", "pending", "pending in a batch", "sending", "unsent"]


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
    if len(released.migrations_of(release)) < len(released.migrations()):
        with pytest.raises(pytest.fail.Exception, match="is behind this version"):
            run(["manage.py", "undecided"], environment)
    run(["manage.py", "migrate", "--verbosity", "0"], environment)
    after = step(release, "show", environment)
    for table, rows in before.items():
        assert after[table] == rows, table
    run(["manage.py", "undecided"], environment)
    went_on = step(release, "go_on", environment)
    assert went_on["jobs"] == CAME_TO
    assert went_on["sent"] == SENT
