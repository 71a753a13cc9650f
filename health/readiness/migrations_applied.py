"""Whether the database has the migrations of this code: all of them, and no others."""

from functools import cache
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from health.readiness.probe import CheckFailed


def require() -> None:
    """Raises CheckFailed if a migration is missing, or the database has one that this code does not know."""
    applied = set(MigrationRecorder(connections[DEFAULT_DB_ALIAS]).applied_migrations())
    ours, replaced = _on_disk()
    missing = sum(
        key not in applied and not (replaces and replaces <= applied) for key, replaces in ours.items()
    )
    if missing:
        raise CheckFailed(f"{missing} migrations are pending; run manage.py migrate")
    labels = {app.label for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR}
    # Of our apps alone: what Django's own have matters to nobody else.
    unknown = len({key for key in applied - set(ours) - replaced if key[0] in labels})
    if unknown:
        raise CheckFailed(f"the database has {unknown} migrations of another release of this service")


@cache
def _on_disk() -> tuple[dict[tuple[str, str], frozenset[tuple[str, str]]], frozenset[tuple[str, str]]]:
    """The migrations of this code, each with those that it replaces; and all that are replaced.

    Read once: the files of a running process do not change.
    """
    loader = MigrationLoader(None, ignore_no_migrations=True)
    ours = {key: frozenset(migration.replaces) for key, migration in loader.disk_migrations.items()}
    return ours, frozenset().union(*ours.values())
