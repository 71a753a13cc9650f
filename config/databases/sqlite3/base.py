"""SQLite with a timeout on its one write lock (config.databases.timeouts)."""

from typing import Any

from django.db.backends.sqlite3 import base

from config.databases import timeouts


class DatabaseWrapper(base.DatabaseWrapper):
    """Connections with a timeout on every wait."""

    def get_connection_params(self) -> dict[str, Any]:
        """Adds the thread's own lock timeout, unless OPTIONS have one."""
        return {"timeout": timeouts.seconds(), **super().get_connection_params()}
