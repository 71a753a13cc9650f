"""PostgreSQL and Redis servers of our own, from what is installed, for as long as they are needed."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis

_START_SECONDS = 20
_STOP_SECONDS = 10


@contextmanager
def own_postgresql(port: int) -> Iterator[tuple[str, str]]:
    """The address of a PostgreSQL that is stopped and removed in the end, or "" and why there is none."""
    binaries = _postgresql_binaries()
    if binaries is None:
        yield "", "PostgreSQL is not installed"
        return
    # PostgreSQL refuses to run as root.
    identity = _unprivileged() if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="takeone-postgres-") as name:
        folder = Path(name)
        if identity:
            os.chown(folder, identity["user"], identity["group"])
        data = str(folder / "data")
        initdb = [str(binaries / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        made = subprocess.run(
            [*initdb, "--locale=C", "--no-sync"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            **identity,
        )
        if made.returncode:
            yield "", f"initdb failed: {_last_line(made.stderr)}"
            return
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder}
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [str(binaries / "postgres"), "-D", data]
        for option, value in options.items():
            command += ["-c", f"{option}={value}"]
        url = f"postgres://postgres@127.0.0.1:{port}/takeone"

        def answers() -> None:
            psycopg.connect(f"postgres://postgres@127.0.0.1:{port}/postgres", connect_timeout=2).close()

        # SIGINT is its fast shutdown: SIGTERM would wait for clients that are still connected.
        with _running(command, folder, answers, interrupt=True, **identity) as reason:
            yield ("", f"PostgreSQL did not start: {reason}") if reason else (url, "")


@contextmanager
def own_redis(port: int) -> Iterator[tuple[str, str]]:
    """The address of a Redis that is stopped in the end, or "" and why there is none."""
    binary = shutil.which("redis-server")
    if binary is None:
        yield "", "Redis is not installed"
        return
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    def answers() -> None:
        with redis.Redis(port=port, socket_timeout=2) as connection:
            connection.ping()

    with (
        tempfile.TemporaryDirectory(prefix="takeone-redis-") as folder,
        _running([*command, "--dir", folder], Path(folder), answers) as reason,
    ):
        yield ("", f"Redis did not start: {reason}") if reason else (f"redis://127.0.0.1:{port}/0", "")


def _postgresql_binaries() -> Path | None:
    folders = [Path(found).parent for name in ("postgres", "initdb") if (found := shutil.which(name))]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_major, reverse=True)
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True)
        folders.append(Path(told.stdout.strip()))
    complete = (f for f in folders if (f / "postgres").exists() and (f / "initdb").exists())
    return next(complete, None)


def _major(binaries: Path) -> int:
    name = binaries.parent.name
    return int(name) if name.isdigit() else 0


def _unprivileged() -> dict[str, Any]:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise OSError("There is neither a user postgres nor a user nobody.")


@contextmanager
def _running(
    command: list[str], folder: Path, answers: Callable[[], None], *, interrupt: bool = False, **identity: Any
) -> Iterator[str]:
    """Runs a server, in a session of its own so that Ctrl-C leaves its end to us. Yields "" once `answers`
    does not raise, or why it did not come to that."""
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **identity,
        )
    try:
        yield _wait_for(server, answers, log)
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGINT if interrupt else signal.SIGTERM)
            try:
                server.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(server: subprocess.Popen[bytes], answers: Callable[[], None], log: Path) -> str:
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends and server.poll() is None:
        try:
            answers()
        except (psycopg.Error, redis.RedisError):
            time.sleep(0.1)
        else:
            return ""
    return _last_line(log.read_text(errors="replace")) or f"no answer within {_START_SECONDS} s"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
