"""The runtime lock is enough for all that settings can switch on."""

import os
from pathlib import Path

import pytest
from packaging.markers import Marker

from tests import locks, runtime
from tests.e2e import importing
from tests.e2e.processes import run
from tests.services import ROOT

pytestmark = pytest.mark.e2e

SCRIPT = str(ROOT / "tests" / "e2e" / "importing.py")


def test_the_processes_under_test_have_what_the_lock_pins_and_nothing_else() -> None:
    pinned = {
        f"{name}=={version}"
        for name, _, version, marker in locks.pins(runtime.LOCK)[0]
        if not marker or Marker(marker).evaluate()
    }
    assert set(run([SCRIPT, "installed"], {}).split()) == pinned


def imported(settings: dict[str, str]) -> str:
    """What the script says, with these settings and a database that is up to date."""
    run(["manage.py", "migrate", "--verbosity", "0"], settings)
    return run([SCRIPT], settings)


def test_what_is_used_with_nothing_switched_on_is_installed(tmp_path: Path) -> None:
    assert "Imported" in imported({"TAKEONE_VAR": str(tmp_path)})


@pytest.mark.postgres
@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="needs Redis; this run has none")
def test_what_is_used_with_all_switched_on_is_installed_and_works(database: str, tmp_path: Path) -> None:
    settings = {
        "REDIS_URL": os.environ["REDIS_URL"],
        "DATABASE_URL": database,
        "TAKEONE_VAR": str(tmp_path),
        "TAKEONE_URL": "https://localhost",
        "TAKEONE_EMBEDDED": "1",
    }
    assert "Imported" in imported(settings)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package whose module imports one that is not installed."""
    folder = tmp_path / "takeone_half_there"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "needy.py").write_text("import not_installed_here\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder.name


def test_what_is_missing_is_found(package: str) -> None:
    for name, told in {
        "no_such_package.backend.Storage": "no_such_package",
        f"{package}.needy": "not_installed_here",
        f"{package}.needy.Storage": "not_installed_here",
        f"{package}.other": "other",
        f"{package}:Storage": "Storage",
        "redis.NoSuchClient": "NoSuchClient",
    }.items():
        with pytest.raises((ImportError, AttributeError), match=told):
            importing.resolve(name)
    importing.resolve("redis.client")
    importing.resolve("redis.client.Redis")
    importing.resolve("celery.beat:Scheduler")


def test_names_are_found_in_every_branch_of_the_settings() -> None:
    source = """
A = {"key.of.a.logger": "a.b.C"} if X else "d.e:F"
B = ["storages.backends.s3.S3Storage", "two words", "takeone.sqlite3", "ours.W001", "127.0.0.1"]
"""
    assert set(importing.written(source)) == {"a.b.C", "d.e:F", "storages.backends.s3.S3Storage"}
    assert set(importing.chosen({"A": [{"x.y": "a.b"}, ("c.d.E",), 7, "plain"]})) == {"a.b", "c.d.E"}
