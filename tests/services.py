"""The PostgreSQL and the Redis of a test run: those that the environment names, those that run on this
machine, or own ones for as long as the run lasts.

TAKEONE_TEST_SERVICES narrows the choice: `own` attempts for none that run already, `none` uses SQLite and
memory. DATABASE_URL and REDIS_URL win over it.
"""

import getpass
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql

from tests import servers

ROOT = Path(__file__).resolve().parent.parent
CHOICES = ("any", "own", "none")
_OLDEST_POSTGRES = 15
_WAIT_SECONDS = 2
_OURS = ("CELERY_", "GUNICORN_", "SIMULATOR_", "SORA_", "TAKEONE_", "WEB_")
# What Celery's transport and Django's cache leave behind.
_REDIS_LEFTOVERS = ("_kombu.*", "takeone*", "unacked*", "celery*", ":1:*")


class Unusable(Exception):
    """A service cannot be used for tests; says why."""


@dataclass(frozen=True, slots=True)
class Service:
    """An address, empty where there is none, and a line about it for people."""

    url: str
    line: str


def environment_without_settings() -> dict[str, str]:
    """This process's environment without settings of Take One; a sourced var/takeone.env leaves some."""
    known = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    return {
        name: value
        for name, value in os.environ.items()
        if name.removesuffix("_FILE") not in known and not name.startswith(_OURS)
    }


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def postgresql(choice: str) -> Iterator[Service]:
    """The run's PostgreSQL. Raises Unusable where DATABASE_URL names one that cannot be used."""
    reasons = []
    if url := os.environ.get("DATABASE_URL", "").strip():
        parts = urlsplit(url)
        place = f"{parts.hostname}:{parts.port or 5432}"
        yield Service(url, f"PostgreSQL: {_version(url)} on {place} (DATABASE_URL)")
        return
    if choice == "any":
        for user in dict.fromkeys([os.environ.get("PGUSER", "") or "postgres", "postgres", _os_user()]):
            # Runs side by side on one server each have their own test databases.
            name = f"takeone_{os.getpid()}"
            url = f"postgres://{user}@127.0.0.1:5432/{name}"
            try:
                version = _version(url)
            except Unusable as error:
                reasons.append(str(error))
                continue
            try:
                yield Service(url, f"PostgreSQL: {version} on 127.0.0.1:5432 (found)")
            finally:
                _drop_databases(url, name)
            return
    if choice != "none":
        with ExitStack() as stack:
            try:
                url = stack.enter_context(servers.own_postgresql(free_port())).url
            except servers.Absent as error:
                reasons.append(str(error))
            else:
                yield Service(url, f"PostgreSQL: {_version(url)}, own, port {urlsplit(url).port}")
                return
    left_out = "tests marked postgres are left out"
    yield Service("", f"PostgreSQL: none, SQLite instead{_because(reasons)}; {left_out}")


@contextmanager
def redis_server(choice: str) -> Iterator[Service]:
    """The run's Redis. Raises Unusable where REDIS_URL names one that cannot be used."""
    reasons = []
    given = os.environ.get("REDIS_URL", "").strip()
    for url in [given] if given else ["redis://127.0.0.1:6379/15"] if choice == "any" else []:
        try:
            connection, number = _empty_redis(url)
        except (redis.RedisError, ValueError, Unusable) as error:
            if given:
                raise Unusable(f"REDIS_URL cannot be used: {error}") from error
            reasons.append(f"127.0.0.1:6379: {error}")
            continue
        parts = urlsplit(url)
        line = f"{connection.info('server')['redis_version']} on {parts.hostname}:{parts.port or 6379}"
        try:
            yield Service(
                parts._replace(path=f"/{number}").geturl(),
                f"Redis: {line}, database {number} ({'REDIS_URL' if given else 'found'})",
            )
        finally:
            with suppress(redis.RedisError):
                for pattern in _REDIS_LEFTOVERS:
                    for key in connection.scan_iter(pattern):
                        connection.delete(key)
            connection.close()
        return
    if choice != "none":
        with ExitStack() as stack:
            try:
                url = stack.enter_context(servers.own_redis(free_port())).url
            except servers.Absent as error:
                reasons.append(str(error))
            else:
                yield Service(url, f"Redis: own, port {urlsplit(url).port}")
                return
    yield Service("", f"Redis: none, memory instead{_because(reasons)}; tests that need Redis are left out")


def _because(reasons: list[str]) -> str:
    return f" ({'; '.join(dict.fromkeys(reasons))})" if reasons else ""


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "postgres"


def connect(url: str) -> psycopg.Connection:
    """A connection to the server of `url` by way of its database `postgres`, as Django makes one."""
    address = urlsplit(url)._replace(path="/postgres").geturl()
    return psycopg.connect(address, autocommit=True, connect_timeout=_WAIT_SECONDS)


def _version(url: str) -> str:
    """The server's version, if tests may use it; raises Unusable."""
    parts = urlsplit(url)
    who = f"{parts.username or 'nobody'} at {parts.hostname}:{parts.port or 5432}"
    try:
        with connect(url) as connection:
            version = connection.info.server_version
            row = connection.execute(
                "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except psycopg.Error as error:
        raise Unusable(f"{who}: {str(error).strip().splitlines()[-1].strip()}") from error
    if version < _OLDEST_POSTGRES * 10_000:
        raise Unusable(f"{who}: it is older than PostgreSQL {_OLDEST_POSTGRES}")
    if row != (True,):
        raise Unusable(f"{who}: not allowed to create databases")
    return f"{version // 10_000}.{version % 10_000}"


def _drop_databases(url: str, name: str) -> None:
    """Test databases of a run that was cut short."""
    with connect(url) as connection:
        left = connection.execute(
            "SELECT datname FROM pg_database WHERE datname = ANY(%s) OR datname LIKE ANY(%s)",
            [[name, f"test_{name}"], [rf"{name}\_%", rf"test\_{name}\_%"]],
        ).fetchall()
        for (database,) in left:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
            connection.execute(drop)


def _empty_redis(url: str) -> tuple[redis.Redis, int]:
    """A connection to a database of that server which is empty and which nobody else uses.

    The tests clear their cache, which empties its database; one that holds anything is therefore never
    used, even where REDIS_URL names it. The connection stays open, which marks the database as taken.
    """
    named = int(urlsplit(url).path.strip("/") or 0)
    for number in dict.fromkeys([named, *range(15, 0, -1)]):
        connection = redis.Redis.from_url(
            urlsplit(url)._replace(path=f"/{number}").geturl(),
            socket_timeout=_WAIT_SECONDS,
            socket_connect_timeout=_WAIT_SECONDS,
            single_connection_client=True,
        )
        try:
            ours = connection.client_id()
            others = [int(c["id"]) for c in connection.client_list() if c["db"] == str(number)]
            # Of two runs that choose at once, the earlier connection has it.
            if connection.dbsize() == 0 and min(others) == ours:
                return connection, number
        except redis.ResponseError:  # a number that this server does not have
            pass
        connection.close()
    raise Unusable("it has no empty database that nobody uses")
