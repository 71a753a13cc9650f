"""No process starts on a database that is behind or ahead of it, and `make up` brings one up to date."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.processes import run
from tests.e2e.test_start import ended

pytestmark = pytest.mark.e2e

STARTS = ["wsgi", "worker", "beat", "work"]


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """A folder with an up-to-date SQLite database."""
    run(["manage.py", "migrate", "--verbosity", "0"], {"TAKEONE_VAR": str(tmp_path)})
    return tmp_path


def change(var: Path, statement: str) -> None:
    with closing(sqlite3.connect(var / "takeone.sqlite3")) as database, database:
        database.execute(statement)


def row(name: str) -> str:
    return f"INSERT INTO django_migrations (app, name, applied) VALUES ('videos', '{name}', '2026-01-01')"


@pytest.mark.parametrize("name", STARTS)
def test_no_process_starts_on_a_database_without_its_tables(name: str, tmp_path: Path) -> None:
    done = ended(name, tmp_path, {})
    assert done.returncode > 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("Take One does not start. The database is behind this version: ")
    assert "manage.py migrate" in line


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.nightly] if name != "worker" else []) for name in STARTS],
)
def test_no_process_starts_on_a_database_of_a_newer_version(name: str, var: Path) -> None:
    change(var, row("9999_from_the_future"))
    done = ended(name, var, {})
    assert done.returncode > 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "Take One does not start. The database has migrations that this version does not know:"
    )
    assert "videos.9999_from_the_future" in line


def test_make_up_refuses_a_database_from_before_the_history_began_anew(tmp_path: Path) -> None:
    change(
        tmp_path,
        "CREATE TABLE django_migrations (id integer PRIMARY KEY, app text, name text, applied datetime)",
    )
    change(tmp_path, row("0001_initial"))
    done = ended("up", tmp_path, {})
    assert done.returncode > 0
    assert "one before 0.2.0" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_of_ours_refuse_as_well_and_djangos_own_do_not(tmp_path: Path) -> None:
    settings = {"TAKEONE_VAR": str(tmp_path)}
    with pytest.raises(pytest.fail.Exception, match="is behind this version"):
        run(["manage.py", "undecided"], settings)
    run(["manage.py", "migrate", "--verbosity", "0"], settings)
    assert run(["manage.py", "undecided"], settings).strip() == "Nothing waits for a person."


def test_a_database_that_holds_anything_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    settings = {"TAKEONE_VAR": str(tmp_path)}
    run(["manage.py", "migrate", "contenttypes", "--verbosity", "0"], settings)
    bring_up = "import django; django.setup(); from config.embedded.up import _migrate; _migrate()"
    said = run(["-c", bring_up], settings | {"DJANGO_SETTINGS_MODULE": "config.settings"})
    (copy,) = tmp_path.glob("takeone.sqlite3.before-*")
    assert str(copy) in said
    assert "videos_job" in tables(tmp_path / "takeone.sqlite3")
    assert {"django_content_type"} <= tables(copy)
    assert "videos_job" not in tables(copy)
    # The first copy may be the only good one.
    run(["manage.py", "migrate", "videos", "0008", "--verbosity", "0"], settings)
    run(["-c", bring_up], settings | {"DJANGO_SETTINGS_MODULE": "config.settings"})
    assert "videos_job" not in tables(copy)
    assert "videos_job" in tables(copy.with_name(f"{copy.name}.2"))
    # Nothing more to do, so nothing more is copied.
    assert run(["-c", bring_up], settings | {"DJANGO_SETTINGS_MODULE": "config.settings"}) == ""


def tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
