"""SQLite, whose one write lock is waited for as long as config.databases.timeouts has it."""

from typing import Any

from django.db.backends.sqlite3 import base

from config.databases import timeouts


class DatabaseWrapper(base.DatabaseWrapper):
    """Connections with an end to every wait."""

    def get_connection_params(self) -> dict[str, Any]:
        """With the thread's own time for a lock, unless OPTIONS name one."""
        return {"timeout": timeouts.seconds(), **super().get_connection_params()}
