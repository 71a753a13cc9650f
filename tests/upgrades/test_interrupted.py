"""A migration that is killed on SQLite is carried out by the next one."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.upgrades import released

_MIGRATE = "import django; django.setup(); from django.core.management import call_command; "
_KILLED = """
import os
from django.db.backends.sqlite3.schema import DatabaseSchemaEditor
execute = DatabaseSchemaEditor.execute

def dies(editor, sql, *given, **named):
    if str(sql).startswith({beginning!r}):
        os._exit(9)
    return execute(editor, sql, *given, **named)

DatabaseSchemaEditor.execute = dies
"""


def migrate(folder: Path, *target: str, before: str = "") -> int:
    """Migrates in a process of its own; the exit code."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}
    }
    environment |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "TAKEONE_VAR": str(folder),
        "SECRET_KEY": "x" * 50,
    }
    program = f"{_MIGRATE}\n{before}\ncall_command('migrate', *{target!r}, verbosity=0)"
    return subprocess.run([sys.executable, "-c", program], env=environment, cwd=released.ROOT).returncode


@pytest.mark.parametrize("beginning", ['DROP TABLE "videos_job"', 'ALTER TABLE "new__videos_job" RENAME'])
def test_a_table_that_was_being_made_anew_is_there_as_it_was(tmp_path: Path, beginning: str) -> None:
    assert migrate(tmp_path, "videos", "0008") == 0
    assert migrate(tmp_path, before=_KILLED.format(beginning=beginning)) == 9
    (database,) = tmp_path.glob("*.sqlite3")
    with closing(sqlite3.connect(database)) as connection:
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    assert "videos_job" in tables
    assert "new__videos_job" not in tables
    assert migrate(tmp_path) == 0
