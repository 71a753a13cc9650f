"""Whether the database has exactly the migrations of this code.

With another schema, a process would answer some calls and fail at others, and money would be at risk.
"""

from dataclasses import dataclass
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor


@dataclass(frozen=True, slots=True)
class Schema:
    """The migrations that this code has and the database lacks, and those of our apps that only it has."""

    pending: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def fault(self) -> str:
        """What is wrong and what to do, in one line; "" if the schema fits."""
        if self.unknown:
            return (
                f"The database has migrations that this version does not know: {_some(self.unknown)}. It was "
                "used by a newer version, or by one before 0.2.0. Run the version that it belongs to, or "
                "restore its backup; docs/upgrading.md says how."
            )
        if self.pending:
            return (
                f"The database is behind this version: {_some(self.pending)} is not applied. Run "
                "`python manage.py migrate` first; docs/upgrading.md says how."
            )
        return ""


def own_apps() -> set[str]:
    """The labels of the apps of this repository."""
    return {app.label for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR}


def _some(names: tuple[str, ...]) -> str:
    rest = len(names) - 3
    return ", ".join(names[:3]) + (f" and {rest} more" if rest > 0 else "")


def read_schema() -> Schema:
    """Compares the database with the migrations on disk. Raises DatabaseError."""
    executor = MigrationExecutor(connection)
    loader = executor.loader
    plan = executor.migration_plan(loader.graph.leaf_nodes())
    pending = tuple(f"{migration.app_label}.{migration.name}" for migration, _ in plan)
    ours = own_apps()
    on_disk = set(loader.disk_migrations or ())
    unknown = tuple(
        f"{label}.{name}"
        for label, name in sorted(loader.applied_migrations or ())
        if label in ours and (label, name) not in on_disk
    )
    return Schema(pending, unknown)


def schema_fault() -> str:
    """Why a process must not start on this database; "" if it may, or if the database does not answer.

    If the database is down for a moment, processes still start; /ready names it until it is back.
    """
    try:
        return read_schema().fault
    except DatabaseError:
        return ""
    finally:
        # The server forks after this, and a connection must not be shared.
        connection.close()
