import tomllib
from typing import Any

import pytest

from tests import coverage_floors
from tests.coverage_floors import PARTS
from tests.e2e import importing
from tests.services import ROOT


def files(covered: dict[str, int]) -> dict[str, Any]:
    """One file in each part, with as many of 100 lines run."""
    return {path: {"summary": {"num_statements": 100, "covered_lines": run}} for path, run in covered.items()}


def test_all_packages_are_measured() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert sorted(settings["tool"]["coverage"]["run"]["source"]) == importing.packages()


def test_each_path_of_a_part_is_there() -> None:
    for part in PARTS:
        for path in part.paths:
            assert (ROOT / path).exists(), path


EXACT = {
    "videos/lifecycle/a.py": 80,
    "upstreams/client/a.py": 75,
    "videos/models/a.py": 85,
    "videos/api/a.py": 80,
    "config/a.py": 30,
}


def test_floors_are_reached_exactly() -> None:
    lines, passed = coverage_floors.judged(files(EXACT))
    assert passed, lines
    assert lines[0].split() == ["ok", "70.0", "%", "of", "all,", "70", "at", "least"]


@pytest.mark.parametrize("path", sorted(set(EXACT) - {"config/a.py"}))
def test_each_part_is_held_to_its_own(path: str) -> None:
    # The others make up for it in the whole, and not in the part.
    assert coverage_floors.judged(files({**EXACT, "health/a.py": 100}))[1]
    assert not coverage_floors.judged(files({**EXACT, "health/a.py": 100, path: EXACT[path] - 1}))[1]


def test_a_part_that_was_not_measured_fails() -> None:
    assert not coverage_floors.judged({})[1]
