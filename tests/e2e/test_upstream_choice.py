"""Which upstream `make up` uses, and what it says where it cannot start."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.caller import ledger
from tests.e2e.conftest import Up
from tests.e2e.processes import Program, members
from tests.services import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

_NOWHERE = "http://127.0.0.1:9/v1"


def test_a_taken_port_is_one_line(start: Callable[..., Program], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = start(
            ["-m", "config.embedded.up", "--port", str(port)], {"TAKEONE_VAR": str(tmp_path / "var")}
        )
        assert program.ends(within=15) == 1

    (line,) = program.output.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert f"PORT={port + 1}" in line


def test_a_shell_that_sourced_an_earlier_address_gets_its_own_simulator(up: Callable[..., Up]) -> None:
    service = up(SORA_BASE_URL=_NOWHERE, TAKEONE_SIMULATOR_URL=_NOWHERE)

    assert service.upstream != _NOWHERE
    job, _ = service.caller.follow(service.caller.ask_for("A snail"), within=30)
    assert job["submitted"]["provider"] == "simulator"
    assert len(ledger(service.upstream)) == 1


def test_a_chosen_upstream_is_used_and_no_simulator_starts(
    up: Callable[..., Up], start_simulator: Callable[..., tuple[Program, str]]
) -> None:
    _, chosen = start_simulator()

    service = up(SORA_BASE_URL=chosen, SORA_PROVIDER="other", SORA_API_KEY="a-key", SORA_SYNC_SECONDS_MIN="1")

    assert service.upstream == chosen
    assert not [line for line in members(service.program.session).values() if "-m simulator" in line]
    job, _ = service.caller.follow(service.caller.ask_for("A beetle"), within=30)
    assert job["submitted"]["provider"] == "other"
    assert [entry["prompt"] for entry in ledger(chosen)] == ["A beetle"]


def test_an_upstream_without_a_name_is_one_error(start: Callable[..., Program], tmp_path: Path) -> None:
    settings = {"TAKEONE_VAR": str(tmp_path / "var"), "SORA_BASE_URL": _NOWHERE}

    program = start(["-m", "config.embedded.up", "--port", str(free_port())], settings)

    assert program.ends(within=15) == 1
    assert program.output.startswith("make up: ")
    assert "SORA_PROVIDER" in program.output
    assert "Traceback" not in program.output


@pytest.mark.parametrize("option", ["--port 9000", "--port=9000", "--host 0.0.0.0"])
def test_an_address_of_the_simulator_s_is_one_error(
    start: Callable[..., Program], tmp_path: Path, option: str
) -> None:
    settings = {"TAKEONE_VAR": str(tmp_path / "var"), "SIMULATOR_OPTIONS": option}

    program = start(["-m", "config.embedded.up", "--port", str(free_port())], settings)

    assert program.ends(within=15) == 1
    (line,) = program.output.splitlines()
    assert line.startswith("make up: SIMULATOR_OPTIONS")


def test_a_second_start_in_the_same_folder_changes_nothing_of_the_first(
    up: Callable[..., Up], start: Callable[..., Program], tmp_path: Path
) -> None:
    service = up()
    kept = (tmp_path / "var" / "takeone.env").read_text()

    second = start(
        ["-m", "config.embedded.up", "--port", str(free_port())], {"TAKEONE_VAR": str(tmp_path / "var")}
    )

    assert second.ends(within=30) == 1
    assert "the simulator did not start" in second.output
    assert (tmp_path / "var" / "takeone.env").read_text() == kept
    job, _ = service.caller.follow(service.caller.ask_for("A second boat"), within=30)
    assert job["status"] == "completed"
