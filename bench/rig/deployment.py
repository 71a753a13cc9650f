"""The production processes of a benchmark, and the plain project under the same kind of server."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg
import requests
from psycopg import sql

from bench.rig.database import prepared
from tests.e2e.caller import is_healthy
from tests.e2e.processes import Program, eventually, run
from tests.servers import own_redis
from tests.services import free_port
from tests.timeouts import TIMEOUT

WORKERS: Final = 2
THREADS: Final = 8
_CELERY: Final = ("-m", "celery", "--quiet", "-A", "config")
_UNLIMITED: Final = {
    "RATE_LIMIT_READS_PER_MINUTE": "1000000",
    "RATE_LIMIT_CREATES_PER_MINUTE": "1000000",
    "MAX_QUEUED_JOBS": "1000000",
    "LOG_LEVEL": "INFO",
}


@dataclass
class Deployment:
    """Our web server, the plain one, and what is needed to start more parts."""

    web: int
    plain: int
    simulator: int
    settings: dict[str, str]
    folder: Path
    plain_database: str
    _stack: ExitStack
    started: list[Program] = field(default_factory=list)

    def start(self, name: str, *arguments: str, **settings: str) -> Program:
        """Starts a program with the deployment's settings. It ends with the deployment."""
        program = Program(arguments, self.settings | settings, self.folder / f"{name}.log")
        self.started.append(program)
        self._stack.callback(program.end)
        return program

    def start_work(self, threads: int = 8) -> Program:
        """A worker, which is returned, and beat."""
        self.start("beat", *_CELERY, "beat", "--schedule", str(self.folder / "beat"))
        return self.start("worker", *_CELERY, "worker", "-P", "threads", "-c", str(threads))

    def new_key(self, name: str) -> str:
        """An API key of a new owner."""
        from accounts.models import ApiKey, User

        return ApiKey.issue(User.objects.create(username=name), "bench")[1]

    def report(self) -> str:
        """What all parts have printed, for people."""
        return "\n\n".join(program.report() for program in self.started)


@contextmanager
def running(*, simulator: Mapping[str, str] | None = None, **settings: str) -> Iterator[Deployment]:
    """Web server, plain server, simulator and Redis, on a fresh database of PostgreSQL each."""
    with ExitStack() as stack:
        environment = stack.enter_context(prepared())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takeone-bench-")))
        redis = stack.enter_context(own_redis(free_port()))
        web, plain, upstream = free_port(), free_port(), free_port()
        ours = (
            environment
            | _UNLIMITED
            | {
                "REDIS_URL": redis.url,
                "TAKEONE_VAR": str(folder),
                "TAKEONE_URL": f"http://127.0.0.1:{web}",
                "TAKEONE_BIND": f"127.0.0.1:{web}",
                "WEB_WORKERS": str(WORKERS),
                "WEB_THREADS": str(THREADS),
                "SORA_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
                "SORA_API_KEY": "a-key",
                "SORA_PROVIDER": "stand-in",
                **settings,
            }
        )
        deployment = Deployment(
            web, plain, upstream, ours, folder, plain_database(stack, environment["DATABASE_URL"]), stack
        )
        options = [each for pair in (simulator or {}).items() for each in (f"--{pair[0]}", pair[1])]
        state = str(folder / "simulator.sqlite3")
        deployment.start(
            "simulator", "-m", "simulator", "--tiny", "--port", str(upstream), "--state", state, *options
        )
        deployment.start("web", "-m", "gunicorn", "-c", "python:config.server", "config.wsgi")
        _start_plain(deployment)
        eventually(lambda: is_healthy(ours["TAKEONE_URL"]), "our web server", within=TIMEOUT)
        eventually(lambda: _answers(plain), "the plain web server", within=TIMEOUT)
        try:
            yield deployment
        except BaseException:
            print(deployment.report(), file=sys.stderr)
            raise


def plain_database(stack: ExitStack, beside: str) -> str:
    """The address of an empty database on the same server, which is dropped in the end."""
    url = urlsplit(beside)
    name = f"{url.path.strip('/')}_plain"

    def execute(statement: str) -> None:
        with psycopg.connect(beside, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))  # type: ignore[arg-type]

    execute("CREATE DATABASE {}")
    stack.callback(execute, "DROP DATABASE {} WITH (FORCE)")
    return url._replace(path=f"/{name}").geturl()


def _start_plain(deployment: Deployment) -> None:
    """The plain project under gunicorn's own threads."""
    settings = {
        "DATABASE_URL": deployment.plain_database,
        "DJANGO_SETTINGS_MODULE": "bench.plain.settings",
    }
    run(["-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"], deployment.settings | settings)
    server = ["-m", "gunicorn", "--worker-class", "gthread", "--workers", f"{WORKERS}"]
    server += ["--threads", f"{THREADS}", "--bind", f"127.0.0.1:{deployment.plain}"]
    deployment.start("plain", *server, "bench.plain.wsgi", **settings)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/videos/", timeout=5).ok
    except requests.ConnectionError:
        return False
