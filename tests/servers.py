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

from tests.timeouts import TIMEOUT

_STOP_SECONDS = 10


class Absent(Exception):
    """A server is not installed, or does not start; says why."""


def dump(url: str, path: Path) -> None:
    """Writes a copy of a PostgreSQL database, as it is in one moment, while others go on using it."""
    _client("pg_dump", "--format", "custom", "--file", str(path), "--dbname", url)


def load(url: str, path: Path) -> None:
    """Puts a copy that `dump` wrote into an empty database."""
    _client("pg_restore", "--exit-on-error", "--dbname", url, str(path))


def _client(name: str, *arguments: str) -> None:
    program = shutil.which(name)
    if program is None:
        raise Absent(f"{name} is not installed")
    subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, check=True, timeout=60)


class Server:
    """A server process of ours, which can be ended and started again in the same place."""

    def __init__(
        self,
        name: str,
        url: str,
        command: list[str],
        folder: Path,
        answers: Callable[[], None],
        *,
        polite: signal.Signals = signal.SIGTERM,
        identity: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.url = url
        self._command = command
        self._folder = folder
        self._answers = answers
        self._polite = polite
        self._identity = identity or {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers; raises Absent."""
        log = self._folder / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # So that Ctrl-C leaves its end to us.
                start_new_session=True,
                **self._identity,
            )
        if reason := _wait_for(self.process, self._answers, log):
            self.stop()
            raise Absent(f"{self.name} did not start: {reason}")

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def processes(self) -> list[int]:
        """Its process and the children of it, which may have sessions of their own."""
        assert self.process is not None
        first = self.process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def stop(self, number: signal.Signals | None = None) -> None:
        """Ends it, politely unless told how, and waits for the end."""
        if self.process is None or self.process.poll() is not None:
            return
        # One that is stopped takes no signal but this.
        self.send(signal.SIGCONT)
        self.send(number or self._polite)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def own_postgresql(port: int, *, durable: bool = False) -> Iterator[Server]:
    """A PostgreSQL that is stopped and removed in the end; raises Absent.

    `durable`: what it has committed outlives its being killed, though not the machine's.
    """
    binaries = _postgresql_binaries()
    if binaries is None:
        raise Absent("PostgreSQL is not installed")
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
            raise Absent(f"initdb failed: {_last_line(made.stderr)}")
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder}
        options |= {"fsync": "off", "full_page_writes": "off"}
        options |= {} if durable else {"synchronous_commit": "off"}
        command = [str(binaries / "postgres"), "-D", data]
        for option, value in options.items():
            command += ["-c", f"{option}={value}"]

        def answers() -> None:
            psycopg.connect(f"postgres://postgres@127.0.0.1:{port}/postgres", connect_timeout=2).close()

        # SIGINT is its fast shutdown: SIGTERM would wait for clients that are still connected.
        server = Server(
            "PostgreSQL",
            f"postgres://postgres@127.0.0.1:{port}/takeone",
            command,
            folder,
            answers,
            polite=signal.SIGINT,
            identity=identity,
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def own_redis(port: int) -> Iterator[Server]:
    """A Redis, which keeps nothing, and is stopped in the end; raises Absent."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise Absent("Redis is not installed")

    def answers() -> None:
        with redis.Redis(port=port, socket_timeout=2) as connection:
            connection.ping()

    with tempfile.TemporaryDirectory(prefix="takeone-redis-") as folder:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", folder]
        server = Server("Redis", f"redis://127.0.0.1:{port}/0", command, Path(folder), answers)
        try:
            server.start()
            yield server
        finally:
            server.stop()


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


def _wait_for(server: subprocess.Popen[bytes], answers: Callable[[], None], log: Path) -> str:
    ends = time.monotonic() + TIMEOUT
    while time.monotonic() < ends and server.poll() is None:
        try:
            answers()
        except (psycopg.Error, redis.RedisError):
            time.sleep(0.1)
        else:
            return ""
    return _last_line(log.read_text(errors="replace")) or f"no answer within {TIMEOUT} s"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
