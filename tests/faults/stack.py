"""A whole deployment as processes of our own: PostgreSQL, Redis, a simulator, web, workers and two beats.

Nothing here touches a service that it found running, and only processes that it started are ended, by id.
"""

import os
import signal
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import redis
import requests
from psycopg import sql

from tests.e2e.caller import Caller, is_healthy
from tests.e2e.processes import Program, eventually, members, run
from tests.servers import Server, dump, load, own_postgresql, own_redis
from tests.services import connect, free_port
from tests.timeouts import TIMEOUT

WEB: Final = "web"
SIMULATOR: Final = "simulator"
# The second upstream, of a deployment that has two.
SECOND: Final = "second-simulator"
# One worker of threads, one with children: a kill takes the whole of the one, and a task of the other.
WORKERS: Final = {"threads": "4", "prefork": "4"}
_CELERY = ("-m", "celery", "-A", "config")
# Waits as short as the settings allow.
_BRISK = {
    "SORA_PROVIDER": "stand-in",
    "SORA_API_KEY": "a-key",
    "SORA_TIMEOUT": "2000",
    "SORA_RETRY_DELAY": "50",
    "SORA_CONCURRENCY": "20",
    "SORA_RECONCILE_SECONDS": "1,2,4",
    "SORA_CLOCK_SKEW": "2",
    "SORA_SYNC_SECONDS_MIN": "0.5",
    "SORA_BREAKER_FAILURES": "50",
    "DISPATCH_SECONDS": "0.5",
    "RATE_LIMIT_READS_PER_MINUTE": "0",
    "RATE_LIMIT_CREATES_PER_MINUTE": "0",
    "AUDIT_SECONDS": "5",
    "WEB_WORKERS": "2",
}


@dataclass
class Stack:
    """The deployment's parts by name; `settings` is the environment that all of them share."""

    postgresql: Server
    redis: Server
    folder: Path
    settings: dict[str, str]
    simulator_options: Sequence[str] = ()
    # The address of the second upstream; "" if there is only one.
    second: str = ""
    parts: dict[str, Program] = field(default_factory=dict)
    started: list[Program] = field(default_factory=list)
    key: str = ""

    @property
    def caller(self) -> Caller:
        """A caller with the deployment's one API key."""
        return Caller(self.settings["TAKEONE_URL"], self.key)

    @property
    def control(self) -> str:
        """The address of the simulator's own books and faults."""
        return _control(self.settings["SORA_BASE_URL"])

    @property
    def controls(self) -> list[str]:
        """The same of all upstreams."""
        return [self.control, *([_control(self.second)] if self.second else [])]

    def commands(self) -> dict[str, list[str]]:
        """What each part runs."""
        simulators = {SIMULATOR: [*self._simulator(self.settings["SORA_BASE_URL"]), *self.simulator_options]}
        if self.second:
            # Ids that count would be the same at both.
            its = [each for each in self.simulator_options if each != "--count-ids"]
            simulators[SECOND] = [*self._simulator(self.second), *its]
        workers = {
            f"worker-{pool}": [*_CELERY, "worker", "-P", pool, "-c", width, "-n", f"{pool}@%h"]
            for pool, width in WORKERS.items()
        }
        beats = {
            f"beat-{number}": [*_CELERY, "beat", "--schedule", str(self.folder / f"beat-{number}")]
            for number in (1, 2)
        }
        web = ["-m", "gunicorn", "-c", "python:config.server", "config.wsgi"]
        return {**simulators, WEB: web, **workers, **beats}

    def _simulator(self, address: str) -> list[str]:
        port = urlsplit(address).port
        return ["-m", "simulator", "--port", f"{port}", "--state", f"{self.folder}/{port}.sqlite3", "--tiny"]

    def _write_upstreams(self) -> None:
        """The two upstreams, the first one preferred."""
        lines = []
        addresses = {self.settings["SORA_PROVIDER"]: self.settings["SORA_BASE_URL"], "second": self.second}
        for order, (name, address) in enumerate(addresses.items()):
            lines += ["[[upstreams]]", f'name = "{name}"', 'dialect = "openai"', f'base_url = "{address}"']
            lines += ['api_key_env = "SORA_API_KEY"', f"order = {order}"]
            lines += [f"concurrency = {self.settings['SORA_CONCURRENCY']}"]
            if order == 0 and "SORA_WEBHOOK_SECRET" in self.settings:
                lines += ['webhook_secret_env = "SORA_WEBHOOK_SECRET"']
        path = self.folder / "upstreams.toml"
        path.write_text("\n".join(lines))
        # Whoever started the simulator has not chosen it as the one upstream.
        self.settings["TAKEONE_SIMULATOR_URL"] = self.settings["SORA_BASE_URL"]
        self.settings["UPSTREAMS_FILE"] = str(path)

    def start(self, *names: str) -> None:
        """Starts these parts, or all of them."""
        commands = self.commands()
        for name in names or commands:
            output = self.folder / f"{name}-{len(self.started)}.log"
            self.parts[name] = Program(commands[name], self.settings, output)
            self.started.append(self.parts[name])

    def is_up(self) -> bool:
        """Whether callers and workers are answered; fails where a part has ended by itself."""
        assert all(program.running() for program in self.parts.values())
        books = all(_answers(f"{control}/ledger") for control in self.controls)
        return is_healthy(self.settings["TAKEONE_URL"]) and books

    def mend(self) -> list[str]:
        """Starts again, as a supervisor would, what has ended. Names what was not killed: Celery ends where a
        child dies that has only just begun."""
        itself = []
        for name, program in list(self.parts.items()):
            code = program.process.poll()
            if code is not None:
                program.kill()
                self.start(name)
                itself += [] if code == -signal.SIGKILL else [name]
        return itself

    def webhook(self, url: str, secret: str) -> None:
        """Has the simulator send its webhooks there."""
        body = {"url": url, "secret": secret, "retry_seconds": 0.5}
        assert requests.post(f"{self.control}/webhook", json=body, timeout=10).ok

    def prepare(self) -> None:
        """Makes the database's tables and an API key, which the stack's callers then use."""
        if self.second:
            self._write_upstreams()
        self._make_database()
        run(["manage.py", "migrate", "--verbosity", "0"], self.settings)
        make_key = ["manage.py", "keys", "make", "ada", "--new-owner", "--name", "tests", "--scope", "write"]
        self.key = run(make_key, self.settings).strip()

    def _make_database(self) -> None:
        with connect(self.settings["DATABASE_URL"]) as connection:
            name = sql.Identifier(urlsplit(self.settings["DATABASE_URL"]).path.strip("/"))
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(name))

    def back_up(self) -> Path:
        """A copy of the database, taken while everything goes on."""
        path = self.folder / "backup"
        dump(self.settings["DATABASE_URL"], path)
        return path

    def restore(self, backup: Path) -> None:
        """Stops all but the upstream, puts the copy in the place of the database, and starts all again."""
        stopped = [name for name in self.parts if name not in {SIMULATOR, SECOND}]
        for name in stopped:
            self.parts[name].kill()
        self._make_database()
        load(self.settings["DATABASE_URL"], backup)
        self.start(*stopped)

    def children(self, name: str) -> list[int]:
        """The processes of a part that are not its first one."""
        session = self.parts[name].session
        return [process for process in members(session) if process != session]

    def processes(self, name: str) -> list[int]:
        """All processes of a part."""
        return list(members(self.parts[name].session))

    def is_healthy(self) -> bool:
        """Whether the web server answers at all."""
        return is_healthy(self.settings["TAKEONE_URL"])

    def set_clock(self, offset: float) -> bool:
        """Steps the clock that the simulator shows; whether it heard of it."""
        with suppress(requests.RequestException):
            return requests.post(f"{self.control}/clock", json={"offset": offset}, timeout=10).ok
        return False

    def forget_videos(self) -> bool:
        """Has the simulator drop all videos; whether it heard of it."""
        with suppress(requests.RequestException):
            return requests.delete(f"{self.control}/jobs", timeout=10).ok
        return False

    def kill(self, name: str) -> None:
        """SIGKILL to a whole part, which is then started again, as a supervisor would."""
        self.parts[name].kill()
        self.start(name)

    def kill_child(self, name: str, choice: int = 0) -> bool:
        """SIGKILL to one child of a part; False where it has none just now."""
        children = sorted(self.children(name))
        if not children:
            return False
        with suppress(ProcessLookupError):
            os.kill(children[choice % len(children)], signal.SIGKILL)
        return True

    def arm(self, fault: str, **parameters: Any) -> None:
        """Arms a fault of the simulator."""
        answer = requests.post(f"{self.control}/faults", json={"fault": fault, **parameters}, timeout=10)
        assert answer.ok, answer.text

    def disarm(self) -> None:
        """Clears all faults of the simulator."""
        assert requests.delete(f"{self.control}/faults", timeout=10).ok

    def terminate_backends(self) -> None:
        """Has PostgreSQL end every connection of the deployment."""
        with connect(self.settings["DATABASE_URL"]) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid()",
                [urlsplit(self.settings["DATABASE_URL"]).path.strip("/")],
            )

    def flush_redis(self) -> None:
        """Empties Redis."""
        with redis.Redis.from_url(self.redis.url, socket_timeout=5) as connection:
            connection.flushall()

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the deployment's database."""
        with psycopg.connect(self.settings["DATABASE_URL"], autocommit=True, connect_timeout=5) as connection:
            # The queries are the tests' own.
            return connection.execute(query, values).fetchall()  # type: ignore[call-overload, no-any-return]

    def report(self) -> str:
        """What all parts have printed, for people."""
        return "\n\n".join(program.report() for program in self.started)


def _control(address: str) -> str:
    return f"{address.removesuffix('/v1')}/_simulator"


def _answers(address: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(address, timeout=10).ok
    return False


@contextmanager
def running(
    folder: Path,
    settings: Mapping[str, str] | None = None,
    *,
    simulator: Sequence[str] = (),
    two_upstreams: bool = False,
) -> Iterator[Stack]:
    """A deployment in which everything runs, in this folder; ended in the end. Raises servers.Absent."""
    with ExitStack() as stack:
        postgresql = stack.enter_context(own_postgresql(free_port(), durable=True))
        broker = stack.enter_context(own_redis(free_port()))
        web = f"127.0.0.1:{free_port()}"
        environment = _BRISK | {
            "DATABASE_URL": postgresql.url,
            "REDIS_URL": broker.url,
            "TAKEONE_VAR": str(folder / "var"),
            "SECRET_KEY": uuid.uuid4().hex * 2,
            "TAKEONE_URL": f"http://{web}",
            "TAKEONE_BIND": web,
            "SORA_BASE_URL": f"http://127.0.0.1:{free_port()}/v1",
        }
        deployment = Stack(postgresql, broker, folder, environment | dict(settings or {}), simulator)
        if two_upstreams:
            deployment.second = f"http://127.0.0.1:{free_port()}/v1"
        try:
            deployment.prepare()
            deployment.start()
            eventually(deployment.is_up, "the deployment", within=TIMEOUT)
            yield deployment
        finally:
            for program in deployment.started:
                program.kill()
