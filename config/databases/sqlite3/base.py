"""SQLite, whose one write lock is waited for as long as config.databases.patience has it."""

from typing import Any

from django.db.backends.sqlite3 import base

from config.databases import patience


class DatabaseWrapper(base.DatabaseWrapper):
    """Connections with an end to every wait."""

    def get_connection_params(self) -> dict[str, Any]:
        """With the thread's own time for a lock, unless OPTIONS name one."""
        return {"timeout": patience.seconds(), **super().get_connection_params()}
