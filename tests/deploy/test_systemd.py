"""The systemd units run what the compose file runs, within the same limits."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.deploy import composition
from tests.services import ROOT

FOLDER = ROOT / "deploy" / "systemd"
ROLES = ("web", "worker", "beat")
SERVICES = ("migrate", *ROLES)
PYTHON = "/opt/takeone/.venv/bin/python"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def directives(name: str) -> dict[str, list[str]]:
    """What a unit says, by directive."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (FOLDER / name).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def unit(role: str) -> dict[str, list[str]]:
    return directives(f"takeone-{role}.service")


def test_there_is_a_unit_for_each_role() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        "takeone.target",
        *(f"takeone-{role}.service" for role in SERVICES),
    }
    (wanted,) = directives("takeone.target")["Wants"]
    assert wanted.split() == [f"takeone-{role}.service" for role in ROLES]


@pytest.mark.parametrize("role", SERVICES)
def test_it_runs_the_command_of_the_compose_file(role: str) -> None:
    (command,) = unit(role)["ExecStart"]
    service = composition.services()[role]
    assert command.split() == [PYTHON, *service["command"][1:]]
    (memory,) = unit(role)["MemoryMax"]
    assert memory.lower() == service["mem_limit"]
    assert unit(role)["TasksMax"] == [str(service["pids_limit"])]
    assert unit(role)["CPUQuota"] == [f"{100 * service['cpus']}%"]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_started_again_and_has_time_to_end(role: str) -> None:
    found = unit(role)
    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"]
    assert found["TimeoutStopSec"] == [composition.services()[role]["stop_grace_period"]]
    assert found["PartOf"] == ["takeone.target"]
    # Wanted, not required: a database that is away at first must not keep it from ever starting.
    assert "takeone-migrate.service" in found["Wants"][0].split()
    assert "takeone-migrate.service" in found["After"][0].split()
    assert not found["Requires"]


@pytest.mark.parametrize("role", SERVICES)
def test_its_secrets_are_credentials(role: str) -> None:
    found = unit(role)
    service = composition.services()[role]
    loaded = dict(each.split(":") for each in found["LoadCredential"])
    assert loaded == {name: f"/etc/takeone/secrets/{name}" for name in service["secrets"]}
    given = dict(pair.split("=", 1) for line in found["Environment"] for pair in line.split())
    for name, path in service["environment"].items():
        if path.startswith("/run/secrets/"):
            assert given[name] == path.replace("/run/secrets", "%d")
    assert given["TAKEONE_VAR"] == f"/var/lib/{found['StateDirectory'][0]}"


@pytest.mark.parametrize("role", SERVICES)
def test_it_is_nobody_in_particular_and_writes_in_its_own_folder_only(role: str) -> None:
    found = unit(role)
    assert found["User"] == ["takeone"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["NoNewPrivileges"] == ["yes"]
    assert not found["ReadWritePaths"]


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """The units with a Python and a user that this machine has."""
    for path in FOLDER.iterdir():
        text = re.sub(r"(?m)^(User|Group)=.*\n", "", path.read_text().replace(PYTHON, sys.executable))
        (tmp_path / path.name).write_text(text)
    return sorted(str(path) for path in tmp_path.iterdir())


def verified(*units: str) -> tuple[int, list[str]]:
    """What systemd says of them. Servers that are not installed here are no mistake."""
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60)
    return done.returncode, [line for line in done.stderr.splitlines() if "takeone" in line]


@needs_systemd
def test_systemd_understands_them(units: list[str]) -> None:
    assert verified(*units) == (0, [])
    beat = Path(units[0])
    beat.write_text(beat.read_text().replace("Type=exec", "Type=sometimes"))
    assert "sometimes" in verified(*units)[1][0]


@needs_systemd
@pytest.mark.parametrize("role", SERVICES)
def test_systemd_finds_them_little_exposed(role: str) -> None:
    path = str(FOLDER / f"takeone-{role}.service")
    # Of 100; 18 is left by the network and by /proc, which they need.
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=18", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-600:]
