"""A database that is frozen, or somebody who is frozen in a transaction, holds nobody up for long."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import InterfaceError, OperationalError, connection, transaction
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.models import User
from config.databases import timeouts
from config.databases.postgresql.base import DatabaseWrapper
from config.databases.sqlite3.base import DatabaseWrapper as SQLiteWrapper
from health import checks
from health.readiness.checker import Checker, Readiness
from health.readiness.probe import CheckFailed
from tests.videos.sending import claim_next
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.models import Job

postgres = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


class Line:
    """A line to PostgreSQL. While it is frozen it takes what is sent, as a stopped server's kernel does, and
    nothing comes back."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flows = threading.Event()
        self._flows.set()
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self._flows.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                self._sockets += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._flows.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def line() -> Iterator[Line]:
    settings_dict = connection.settings_dict
    line = Line(settings_dict["HOST"] or "127.0.0.1", int(settings_dict["PORT"] or 5432))
    yield line
    line.close()


@pytest.fixture(autouse=True)
def _open_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.databases.postgresql.base.gate", timeouts.Gate())


@pytest.fixture
def connect(line: Line) -> Iterator[Callable[..., DatabaseWrapper]]:
    """Connections of their own, by the line or past it."""
    # That of the tests, by which the tables are emptied: before a test shortens the limits of what it opens.
    connection.close()
    connection.ensure_connection()
    made = []

    def connect(*, by_line: bool = True) -> DatabaseWrapper:
        place = {"HOST": "127.0.0.1", "PORT": line.port} if by_line else {}
        wrapper = DatabaseWrapper({**connection.settings_dict, **place}, "default")
        made.append(wrapper)
        return wrapper

    yield connect
    for wrapper in made:
        wrapper.close()


def ask(database: DatabaseWrapper, statement: str = "SELECT 1") -> Any:
    with database.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


def seconds_of(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    with pytest.raises(OperationalError):
        call()
    return time.monotonic() - began


class TestFrozen:
    pytestmark = postgres

    def test_a_statement_is_given_up(
        self, settings: Settings, line: Line, connect: Callable[..., DatabaseWrapper]
    ) -> None:
        settings.DATABASE_WEB_SECONDS, settings.DATABASE_WORK_SECONDS = 1, 2
        with timeouts.in_web():
            web = connect()
            assert ask(web) == (1,)
        work = connect()
        assert ask(work) == (1,)
        line.freeze()
        with timeouts.in_web():
            assert 0.9 < seconds_of(lambda: ask(web)) < 1.9
        assert 1.9 < seconds_of(lambda: ask(work)) < 2.9
        # What it was in the midst of is not taken for the answer of what is asked next.
        line.thaw()
        with pytest.raises((OperationalError, InterfaceError)):
            ask(work)

    def test_a_commit_is_given_up(
        self, settings: Settings, line: Line, connect: Callable[..., DatabaseWrapper]
    ) -> None:
        settings.DATABASE_WORK_SECONDS = 1
        database = connect()
        database.set_autocommit(False)
        assert ask(database) == (1,)
        line.freeze()
        assert seconds_of(database.commit) < 1.9

    def test_a_connection_is_given_up(
        self, settings: Settings, line: Line, connect: Callable[..., DatabaseWrapper]
    ) -> None:
        line.freeze()
        with timeouts.in_web():
            assert seconds_of(lambda: ask(connect())) < 3

    def test_all_others_are_told_at_once_until_it_answers_again(
        self, settings: Settings, line: Line, connect: Callable[..., DatabaseWrapper]
    ) -> None:
        settings.DATABASE_WEB_SECONDS = 1
        with timeouts.in_web():
            kept = connect()
            assert ask(kept) == (1,)
            kept.close_if_unusable_or_obsolete()
            line.freeze()
            seconds_of(lambda: ask(connect()))
            # New ones and kept ones, which are looked at before their first use in a request.
            assert seconds_of(lambda: ask(connect())) < 0.3
            assert seconds_of(lambda: ask(kept)) < 0.3
            line.thaw()
            ends = time.monotonic() + 10
            while time.monotonic() < ends:
                with suppress(OperationalError):
                    assert ask(connect()) == (1,)
                    break
            assert ask(connect()) == (1,)

    def test_a_kept_connection_is_looked_at_briefly(
        self, line: Line, connect: Callable[..., DatabaseWrapper]
    ) -> None:
        database = connect()
        assert ask(database) == (1,)
        database.close_if_unusable_or_obsolete()
        # What has answered just now is not looked at.
        database.connection.answered_at -= 1  # type: ignore[union-attr]
        line.freeze()
        with timeouts.in_web():
            # A look of one second, then a connection of two.
            assert seconds_of(lambda: ask(database)) < 4.5

    def test_a_slow_statement_is_ended_by_the_server_and_closes_nothing(
        self, settings: Settings, connect: Callable[..., DatabaseWrapper]
    ) -> None:
        settings.DATABASE_WORK_SECONDS = 1.5
        database = connect()
        assert seconds_of(lambda: ask(database, "SELECT pg_sleep(10)")) < 1.4
        assert ask(database) == (1,)
        assert ask(connect()) == (1,)

    def test_a_migration_takes_as_long_as_it_takes(
        self, settings: Settings, connect: Callable[..., DatabaseWrapper]
    ) -> None:
        settings.DATABASE_WORK_SECONDS = 1
        database = connect()
        with database.schema_editor() as editor:
            for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                assert ask(database, f"SHOW {limit}") == ("0",)
            editor.execute("SELECT pg_sleep(1.3)")
        assert ask(database, "SHOW statement_timeout") == ("500ms",)
        assert seconds_of(lambda: ask(database, "SELECT pg_sleep(5)")) < 1.3


class TestHeldUp:
    pytestmark = postgres

    def test_a_transaction_that_stands_still_is_ended_and_its_lock_free(
        self,
        settings: Settings,
        make_job: Callable[..., Job],
        upstream: Upstream,
        connect: Callable[..., DatabaseWrapper],
    ) -> None:
        """As of a worker that was frozen in the midst of a claim."""
        make_job()
        provider = upstream.provider()
        settings.DATABASE_IDLE_SECONDS = 1
        frozen = connect(by_line=False)
        frozen.set_autocommit(False)
        table = Provider._meta.db_table
        assert ask(frozen, f"SELECT id FROM {table} WHERE id = {provider.pk} FOR UPDATE")
        began = time.monotonic()
        # The others wait for the lock, or come again.
        while True:
            assert time.monotonic() - began < 5
            with suppress(OperationalError):
                assert claim_next(upstream) is not None
                break
        assert time.monotonic() - began > 0.5
        # Once it goes on, what it had begun is undone, and it is told as of a database that is away.
        with pytest.raises(OperationalError):
            ask(frozen)

    def test_who_waits_for_a_lock_is_told_to_come_again(
        self,
        settings: Settings,
        api: Client,
        job: Job,
        connect: Callable[..., DatabaseWrapper],
    ) -> None:
        settings.DATABASE_WEB_SECONDS = 2
        holder = connect(by_line=False)
        holder.set_autocommit(False)
        assert ask(holder, f"SELECT id FROM {Job._meta.db_table} WHERE id = '{job.pk}' FOR UPDATE")
        # Another connection, as a web thread makes it.
        connection.close()
        with timeouts.in_web():
            began = time.monotonic()
            response = api.delete(f"/api/v1/videos/{job.pk}")
            assert time.monotonic() - began < 1.9
        connection.close()
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "database_unavailable"
        assert int(response["Retry-After"]) > 0
        holder.rollback()
        assert api.delete(f"/api/v1/videos/{job.pk}").status_code == 200


class TestReadOnly:
    """As after a failover: the server that was asked has become a standby."""

    pytestmark = postgres

    @pytest.fixture
    def demoted(self, connect: Callable[..., DatabaseWrapper]) -> Iterator[Callable[[bool], None]]:
        """Makes the database of the tests take no writes over new connections, or take them again."""
        operator = connect(by_line=False)
        name = connection.settings_dict["NAME"]

        def demote(is_demoted: bool) -> None:
            ask(operator, f'ALTER DATABASE "{name}" SET default_transaction_read_only = {is_demoted}')

        ask(operator, "SET default_transaction_read_only = off")
        yield demote
        demote(False)

    def test_a_connection_that_takes_no_writes_any_more_is_given_up(
        self, api: Client, upstream: Upstream
    ) -> None:
        ask_for = {"path": "/api/v1/videos", "data": {"prompt": "a boat"}, "content_type": "application/json"}
        assert api.post(**ask_for).status_code == 201
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
        response = api.post(**ask_for)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "database_unavailable")
        assert int(response["Retry-After"]) > 0
        # The next one has a new connection.
        connection.close_if_unusable_or_obsolete()
        assert api.post(**ask_for).status_code == 201

    def test_within_a_transaction_as_well(self, owner: User) -> None:
        with pytest.raises(OperationalError), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET default_transaction_read_only = on")
                cursor.execute("SET transaction_read_only = on")
            User.objects.create_user("bob")
        connection.close_if_unusable_or_obsolete()
        assert User.objects.create_user("bob").pk

    def test_a_server_that_takes_no_writes_is_as_one_that_is_away(
        self, api: Client, upstream: Upstream, demoted: Callable[[bool], None]
    ) -> None:
        connection.close()
        demoted(True)
        response = api.get("/api/v1/videos")
        assert (response.status_code, response.json()["error"]["code"]) == (503, "database_unavailable")
        with pytest.raises(CheckFailed, match="takes no writes"):
            checks.repository()
        demoted(False)
        assert api.get("/api/v1/videos").status_code == 200
        assert checks.repository()


@pytest.mark.django_db
def test_a_page_outside_of_rest_is_503_as_well(
    client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(owner)
    client.raise_request_exception = False

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("it is frozen")

    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", away)
    response = client.get("/admin/")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "database_unavailable")
    assert int(response["Retry-After"]) > 0


def test_the_health_page_asks_no_database(client: Client) -> None:
    # Without the mark of this test a database would be refused.
    assert client.get("/health").status_code == 200


@pytest.mark.django_db
def test_sqlite_is_waited_for_as_long(tmp_path: Path, settings: Settings) -> None:
    settings.DATABASE_WEB_SECONDS = 1
    of_test = {**connection.settings_dict, "NAME": tmp_path / "db.sqlite3"}
    of_test["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}
    with timeouts.in_web():
        holder, other = SQLiteWrapper(of_test, "default"), SQLiteWrapper(of_test, "default")
        with closing(holder), closing(other), holder.cursor() as cursor:
            cursor.execute("CREATE TABLE boat (name)")
            cursor.execute("BEGIN IMMEDIATE")
            with other.cursor() as waiting:
                assert 0.9 < seconds_of(lambda: waiting.execute("INSERT INTO boat VALUES ('a')")) < 2
            cursor.execute("ROLLBACK")


def test_threads_of_the_web_server_are_impatient(settings: Settings) -> None:
    settings.DATABASE_WEB_SECONDS, settings.DATABASE_WORK_SECONDS = 4, 30
    found = []
    application = timeouts.serving_callers(lambda environ, start: found.append(timeouts.seconds()))
    thread = threading.Thread(target=application, args=({}, None))
    thread.start()
    thread.join()
    assert (found, timeouts.seconds()) == ([4], 30)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_statements_of_a_read_have_the_time_of_one_together(
    settings: Settings, connect: Callable[..., DatabaseWrapper], method: str
) -> None:
    settings.DATABASE_WEB_SECONDS = 1
    answered = []

    def application(environ: Any, start_response: Any) -> None:
        database = connect(by_line=False)
        for _ in range(5):
            ask(database, "SELECT pg_sleep(0.3)")
            answered.append(1)

    with timeouts.in_web(), suppress(OperationalError):
        timeouts.serving_callers(application)({"REQUEST_METHOD": method}, None)
    assert (len(answered) < 5) == (method == "GET")
    assert ask(connect(by_line=False)) == (1,), "it is not taken for a frozen one"


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_figures_of_a_slow_database_are_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATABASE_WEB_SECONDS = 1
    monkeypatch.setattr(Checker, "readiness", lambda self: Readiness(True, {}))

    def slowly(execute: Callable[..., Any], *statement: Any) -> Any:
        with connection.wrap_database_errors, connection.connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.3)")
        return execute(*statement)

    connection.ensure_connection()
    statuses: list[str] = []
    with timeouts.in_web(), connection.execute_wrapper(slowly):
        environ = RequestFactory().get("/metrics").environ
        timeouts.serving_callers(WSGIHandler())(environ, lambda status, _: statuses.append(status))
    connection.close()
    # Here, and not in another test that has shortened the limits of what it opens.
    connection.ensure_connection()
    assert statuses == ["503 Service Unavailable"]
