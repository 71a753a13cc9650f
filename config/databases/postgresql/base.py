"""PostgreSQL with a timeout on every call (config.databases.timeouts), because it may freeze.

A healthy server ends a statement that takes too long. Only the client can give up a frozen server: the kernel
of that server still acknowledges packets, so no option of TCP or PostgreSQL notices.
"""

import logging
from time import monotonic
from types import SimpleNamespace
from typing import Any, Self

import psycopg
from django.conf import settings
from django.db.backends.postgresql import base, schema
from psycopg import errors

from config.databases import timeouts
from config.databases.timeouts import gate

logger = logging.getLogger(__name__)

# In C, as long as psycopg has its binary part.
_TIMES: Any = psycopg.adapters.get_loader(psycopg.adapters.types["timestamptz"].oid, psycopg.pq.Format.TEXT)

_ServerSideCursor: Any = base.ServerSideCursor

# The server's own limit comes first: it says what was wrong, and leaves a connection that can be used.
_SERVER_FIRST_SECONDS = 0.5
# psycopg's least.
_MIN_CONNECT_SECONDS = 2
_MAX_CONNECT_SECONDS = 5
# For so long after an answer a connection is not asked whether it is alive.
_FRESH_SECONDS = 0.2


class Frozen(psycopg.OperationalError):
    """The server has not answered in time. It is not known whether it carries out the statement."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed if one answer takes too long."""

    # Seconds; None while a migration runs.
    answer_seconds: float | None = None
    # Of time.monotonic().
    answered_at = 0.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Waits as psycopg does, for at most `answer_seconds` and what is left to the request. Raises
        Frozen."""
        bound, began = timeout, monotonic()
        if timeout is None and self.answer_seconds is not None:
            bound = timeouts.within_request(self.answer_seconds)
        try:
            found = super().wait(gen, interval, bound)
        except errors._WaitTimeout as error:
            if timeout is not None:
                raise
            # In the middle of an answer: nothing can be asked over it any more.
            self.pgconn.finish()
            # If a request has less than that left, a slow server cannot be told from a frozen one.
            if not self.answer_seconds or not bound or bound >= self.answer_seconds - _SERVER_FIRST_SECONDS:
                gate.gave_up()
            raise Frozen(f"The database has not answered within {bound:g} s.") from error
        except errors.IdleInTransactionSessionTimeout as error:
            # For psycopg an internal error. This process was delayed, and the server has ended its
            # transaction, so that others need not wait for its locks.
            self.pgconn.finish()
            raise psycopg.OperationalError(str(error)) from error
        except errors.ReadOnlySqlTransaction as error:
            # After a failover this server may never take a write again; another one does.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"The database takes no writes: {error}") from error
        finally:
            timeouts.spend(monotonic() - began)
        gate.answered()
        self.answered_at = monotonic()
        return found


class PreparedCursor(psycopg.RawCursor[Any]):
    """Has the server plan each statement once for a connection. Parameters are $1, $2 and so on.

    A pooler between may give each transaction another connection of its own, which does not know what the
    last one has prepared. Then this process stops preparing.
    """

    _prepares = True

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """As psycopg does."""
        if not (PreparedCursor._prepares and settings.DATABASE_PREPARE):
            return super().execute(query, params, **options)
        self.connection.prepare_threshold = 0
        try:
            return super().execute(query, params, **options)
        except (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement) as error:
            PreparedCursor._prepares = False
            logger.warning("Statements are not prepared any more, because a pooler forgets them: %s", error)
            if not self.connection.autocommit:
                raise psycopg.OperationalError(str(error)) from error
            self.connection.prepare_threshold = None
            return super().execute(query, params, **options)
        finally:
            # Django's own statements differ each time.
            self.connection.prepare_threshold = None


class SchemaEditor(schema.DatabaseSchemaEditor):
    """Has no timeout, because a migration may take long."""

    _LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

    def __enter__(self) -> Any:
        if not self.collect_sql:
            self.connection.ensure_connection()
            self.connection.connection.answer_seconds = None
            self._each("SET {} = 0")
        return super().__enter__()

    def __exit__(self, exc_type: Any, *rest: Any) -> None:
        super().__exit__(exc_type, *rest)
        if not self.collect_sql:
            self._each("RESET {}")
            self.connection.connection.answer_seconds = timeouts.seconds()

    def _each(self, statement: str) -> None:
        with self.connection.cursor() as cursor:
            for limit in self._LIMITS:
                cursor.execute(statement.format(limit))


class DatabaseWrapper(base.DatabaseWrapper):
    """Connections with a timeout on every wait."""

    SchemaEditorClass = SchemaEditor
    # By this name Django connects, and knows the errors.
    Database: Any = SimpleNamespace(**vars(psycopg) | {"connect": BoundedConnection.connect})

    def get_connection_params(self) -> dict[str, Any]:
        """The timeouts of the server and the kernel. Options in DATABASE_URL override them."""
        params = super().get_connection_params()
        most = timeouts.seconds()
        limits = {
            "statement_timeout": most - _SERVER_FIRST_SECONDS,
            "lock_timeout": timeouts.lock_seconds(),
            # A process that freezes in a transaction keeps its locks no longer than this.
            "idle_in_transaction_session_timeout": settings.DATABASE_IDLE_SECONDS,
        }
        ours = " ".join(f"-c {name}={max(1, round(1000 * limit))}" for name, limit in limits.items())
        params["options"] = f"{ours} {params.get('options', '')}".strip()
        connect_seconds = min(max(int(most / 2), _MIN_CONNECT_SECONDS), _MAX_CONNECT_SECONDS)
        return {
            "connect_timeout": connect_seconds,
            # A machine that is gone acknowledges nothing.
            "tcp_user_timeout": round(1000 * most),
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            # A standby is no database for us: it would answer reads and refuse each write.
            "target_session_attrs": "read-write",
            **params,
        }

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Raises Frozen at once while the database is known not to answer."""
        if not gate.admits():
            raise Frozen("The database does not answer; it is asked again within a second or two.")
        try:
            connection = super().get_new_connection(conn_params)
        except errors.ConnectionTimeout:
            gate.gave_up()
            raise
        connection.answer_seconds = timeouts.seconds()
        # Django's own sets the time zone by a class in Python; that of the session is UTC anyway.
        connection.adapters.register_loader("timestamptz", _TIMES)
        gate.answered()
        return connection

    def create_cursor(self, name: str | None = None) -> Any:
        """As Django, but for the loader of times."""
        connection: Any = self.connection
        if name is None:
            return connection.cursor()
        return _ServerSideCursor(connection, name=name, scrollable=False, withhold=connection.autocommit)

    def prepared_cursor(self) -> Any:
        """A cursor for statements that are the same each time: PreparedCursor."""
        self.close_if_health_check_failed()
        self.ensure_connection()
        with self.wrap_database_errors:
            return self._prepare_cursor(PreparedCursor(self.connection))  # type: ignore[attr-defined]

    def close_if_health_check_failed(self) -> None:
        """As Django, unless it has answered just now."""
        connection: Any = self.connection
        if connection is not None and monotonic() - connection.answered_at < _FRESH_SECONDS:
            self.health_check_done = True
        super().close_if_health_check_failed()

    def is_usable(self) -> bool:
        """Whether the server answers at once."""
        connection: Any = self.connection
        if connection is None or not gate.admits():
            return False
        before, connection.answer_seconds = connection.answer_seconds, timeouts.HEALTH_CHECK_SECONDS
        try:
            return bool(super().is_usable())
        finally:
            connection.answer_seconds = before
