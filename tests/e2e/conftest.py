"""Real processes for the tests of this folder, ended after each."""

import os
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg import sql

from tests.e2e.caller import Caller, is_healthy, sourced
from tests.e2e.processes import Program, eventually, run
from tests.services import ROOT, connect, free_port
from tests.timeouts import TIMEOUT

_programs = pytest.StashKey[list[Program]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with what the processes have printed."""
    report = yield
    if report.failed:
        for program in item.stash.get(_programs, []):
            report.sections.append(("a process of this test", program.report()))
    return report


@pytest.fixture
def database() -> Iterator[str]:
    """The address of a fresh database on the run's PostgreSQL."""
    server = os.environ["DATABASE_URL"]
    name = f"{urlsplit(server).path.strip('/')}_e2e_{uuid.uuid4().hex[:8]}"
    with connect(server) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts `python arguments` with these settings and no others."""
    programs: list[Program] = request.node.stash.setdefault(_programs, [])

    def begin(arguments: Sequence[str], settings: Mapping[str, str], folder: Path = ROOT) -> Program:
        programs.append(Program(arguments, settings, tmp_path / f"output-{len(programs)}", folder))
        return programs[-1]

    yield begin
    for program in reversed(programs):
        program.end()


@dataclass
class Up:
    """What `make up` has started, with its address and the caller whose key it wrote."""

    program: Program
    caller: Caller
    env: dict[str, str]

    @property
    def upstream(self) -> str:
        """The base URL of the upstream that it uses."""
        return self.env["SORA_BASE_URL"]


@pytest.fixture
def up(start: Callable[..., Program], tmp_path: Path) -> Callable[..., Up]:
    """Starts everything as `make up` does, in the same var folder each time, and waits until it serves."""
    var = tmp_path / "var"

    def begin(render_seconds: float = 1, port: int = 0, **settings: str) -> Up:
        options = {"TAKEONE_VAR": str(var), "SIMULATOR_OPTIONS": f"--render-seconds {render_seconds}"}
        port = port or free_port()
        program = start(["-m", "config.embedded.up", "--port", str(port)], options | settings)
        address = f"http://127.0.0.1:{port}"
        eventually(lambda: program.running() and is_healthy(address), "/health", within=TIMEOUT)
        # Printed once all is up, which is just after the first request can be served.
        eventually(lambda: "Take One is up" in program.output, "the greeting", within=TIMEOUT)
        env = sourced(var / "takeone.env")
        return Up(program, Caller(address, env["TAKEONE_API_KEY"]), env)

    return begin


@pytest.fixture
def start_simulator(start: Callable[..., Program], tmp_path: Path) -> Callable[..., tuple[Program, str]]:
    """Starts a simulator by itself; returns it with its base URL."""

    def begin(render_seconds: float = 1) -> tuple[Program, str]:
        folder = tmp_path / "simulator-alone"
        folder.mkdir()
        ready = folder / "url"
        command = ["-m", "simulator", "--port", "0", "--state", str(folder / "state.sqlite3")]
        command += ["--ready-file", str(ready), "--render-seconds", str(render_seconds)]
        program = start(command, {})
        eventually(
            lambda: program.running() and ready.exists() and ready.read_text(),
            "the simulator's ready file",
            within=TIMEOUT,
        )
        return program, ready.read_text().strip()

    return begin


@pytest.fixture
def start_web(start: Callable[..., Program]) -> Callable[..., tuple[Program, Caller]]:
    """Prepares the database of these settings, makes a user with a key, and starts web processes alone."""

    def begin(settings: Mapping[str, str]) -> tuple[Program, Caller]:
        run(["manage.py", "migrate", "--verbosity", "0"], settings)
        make_key = ["manage.py", "keys", "make", "ada", "--new-owner", "--name", "tests", "--scope", "write"]
        key = run(make_key, settings).strip()
        port = free_port()
        program = start(
            ["-m", "gunicorn", "-c", "python:config.server", "config.wsgi"],
            {**settings, "TAKEONE_BIND": f"127.0.0.1:{port}"},
        )
        address = f"http://127.0.0.1:{port}"
        eventually(lambda: program.running() and is_healthy(address), "/health", within=TIMEOUT)
        return program, Caller(address, key)

    return begin
