"""docker-compose.yml without an engine: each command, with its environment, in what the image has.

The services' names become addresses of this machine, and the places of volumes and secrets become folders.
"""

import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests

from tests.deploy import composition, image
from tests.e2e import greeting
from tests.e2e.caller import Caller, ledger
from tests.e2e.processes import Program, eventually, run
from tests.services import ROOT, free_port
from tests.timeouts import TIMEOUT

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.postgres,
    pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="needs Redis; this run has none"),
    pytest.mark.timeout(110),
]

_HEALTHY_SECONDS = 40


@dataclass
class Composition:
    """The services as this machine can run them."""

    app: Path
    places: dict[str, str]

    def here(self, text: str) -> str:
        """The text with what this machine has in place of what a container has."""
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def arguments(self, command: list[str]) -> list[str]:
        """What follows `python` in a command."""
        assert command[0] == "python", command
        return [self.here(word) for word in command[1:]]

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        """The image's own, without its PATH, and the service's over it."""
        found = {**image.environment(), **service.get("environment", {})}
        del found["PATH"]
        return {name: self.here(str(value)) for name, value in found.items()}


@pytest.fixture
def composed(database: str, tmp_path: Path) -> Composition:
    """The image laid out, with a database of its own."""
    redis, data = os.environ["REDIS_URL"], urlsplit(database)
    tmp = tmp_path / "tmp"
    state = tmp_path / "state"
    secrets = tmp_path / "secrets"
    for folder in (tmp, state, state / "media", state / "simulator", secrets):
        folder.mkdir()
    for name in composition.load()["secrets"]:
        (secrets / name).write_text(f"{uuid.uuid4().hex * 2}\n")
    # A server that trusts this machine asks for none, and takes any.
    if data.password:
        (secrets / "database_password").write_text(unquote(data.password))
    simulator, web = free_port(), free_port()
    address = data._replace(netloc=f"{data.username}@{data.hostname}:{data.port or 5432}").geturl()
    places = {
        "postgres://takeone@postgres:5432/takeone": address,
        "redis://redis:6379/0": redis,
        "http://simulator:9000": f"http://127.0.0.1:{simulator}",
        "127.0.0.1:9000": f"127.0.0.1:{simulator}",
        "9000": str(simulator),
        "0.0.0.0:8000": f"127.0.0.1:{web}",
        "127.0.0.1:8000": f"127.0.0.1:{web}",
        "0.0.0.0": "127.0.0.1",
        "/run/secrets": str(secrets),
        "/var/lib/takeone": str(state),
        "/tmp/pulse": str(tmp / "pulse"),
    }
    return Composition(image.lay_out(tmp_path / "app"), places)


def test_the_services_make_a_video(composed: Composition, start: Callable[..., Program]) -> None:
    services = composition.services()
    before = sorted(composed.app.rglob("*"))
    started: dict[str, Program] = {}
    for name in composition.start_order():
        service = services[name]
        if name not in composition.OURS:
            continue
        begun = start(
            composed.arguments(service["command"]), _own_pulse(composed, name, service), composed.app
        )
        if service["restart"] == "no":
            assert begun.ends(within=60) == 0, begun.report()
        else:
            started[name] = begun
    for name, program in started.items():
        eventually(
            lambda name=name, program=program: program.running() and _is_healthy(composed, name),  # type: ignore[misc]
            f"{name} to be healthy",
            within=_HEALTHY_SECONDS,
        )

    web = services["web"]
    # The command of docs/running.md.
    page = (ROOT / "docs" / "running.md").read_text()
    (typed,) = re.findall(r"^docker compose exec web python (.*next_steps)$", page, re.M)
    printed = run(typed.split(), composed.environment(web), composed.app)
    key = re.findall(r"TAKEONE_API_KEY=(\S+)", printed)[0]
    caller = Caller(composed.here("http://127.0.0.1:8000"), key)
    link = re.findall(r"\S+/admin/login-link\S+", printed)[0]
    assert requests.get(link, timeout=TIMEOUT).status_code == 200
    assert greeting.printed(printed) == greeting.shown()
    job, _ = caller.follow(caller.ask_for("A harbour at dawn"), within=45)

    assert caller.get(job["result"]["videoUrl"]).content[4:8] == b"ftyp"
    assert len(ledger(composed.here("http://simulator:9000"))) == 1
    for name, program in started.items():
        program.process.terminate()
        grace = composition.seconds(services[name]["stop_grace_period"])
        assert program.ends(within=grace) == 0, program.report()
        assert "Traceback" not in program.output
        # What has ended is not taken for well: a file's age shows it later, which has its own test.
        if services[name]["healthcheck"]["test"][3] == "get":
            assert not _is_healthy(composed, name)
    # The file system is read-only but for volumes and /tmp.
    assert sorted(composed.app.rglob("*")) == before


def _own_pulse(composed: Composition, name: str, service: Mapping[str, Any]) -> dict[str, str]:
    """The service's environment. Each container has a /tmp of its own."""
    found = composed.environment(service)
    if pulse := found.get("TAKEONE_PULSE_FILE"):
        found["TAKEONE_PULSE_FILE"] = f"{pulse}-{name}"
    return found


def _is_healthy(composed: Composition, name: str) -> bool:
    """Runs the service's health check once."""
    service = composition.services()[name]
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    arguments = composed.arguments(command)
    pulse = composed.here("/tmp/pulse")
    arguments = [f"{pulse}-{name}" if each == pulse else each for each in arguments]
    environment = {**os.environ, **composed.environment(service)}
    done = subprocess.run(
        ["python3", *arguments],
        cwd=composed.app,
        env=environment,
        capture_output=True,
        text=True,
        timeout=composition.seconds(service["healthcheck"]["timeout"]),
    )
    return done.returncode == 0


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_the_servers_own_checks_find_them_well(name: str) -> None:
    url = urlsplit(os.environ["DATABASE_URL" if name == "postgres" else "REDIS_URL"])
    kind, *command = composition.services()[name]["healthcheck"]["test"]
    words = command if kind == "CMD" else ["sh", "-c", *command]
    program = command[0].split()[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")

    def asked(port: int) -> int:
        if kind == "CMD":
            moved = [str(url.hostname) if word == "127.0.0.1" else word for word in words]
            moved += ["-p", str(port)]
        else:
            moved = [word.replace("-h 127.0.0.1", f"-h {url.hostname} -p {port}") for word in words]
        return subprocess.run(moved, capture_output=True, timeout=TIMEOUT).returncode

    assert asked(url.port or {"postgres": 5432, "redis": 6379}[name]) == 0
    assert asked(free_port()) != 0
