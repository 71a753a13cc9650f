"""The process itself: how it starts, what stops it from starting, how it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.simulator.process import Simulator, command, eventually
from tests.timeouts import TIMEOUT

ROOT = Path(__file__).parents[2]


def run(*options: str, state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(state, *options), cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def test_it_says_where_it_is_in_one_line_and_in_a_file(
    start: Callable[..., Simulator], tmp_path: Path
) -> None:
    simulator = start("--ready-file", str(tmp_path / "new" / "url"))
    assert simulator.line == f"simulator: {simulator.url}\n"
    assert (tmp_path / "new" / "url").read_text().strip() == simulator.url
    assert simulator.url.startswith("http://127.0.0.1:")
    assert simulator.url.endswith("/v1")


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_and_quietly_in_mid_render(
    start: Callable[..., Simulator], name: signal.Signals
) -> None:
    simulator = start("--render-seconds", "600")
    simulator.made(model="sora-2-pro", size="1920x1080", seconds="20")
    simulator.arm("slow", operation="list", seconds=600)
    simulator.arm("endless", operation="retrieve")
    renders = eventually(lambda: _all_children(simulator.process.pid), "a render runs")
    with simulator.call("GET", "/v1/videos/" + simulator.ledger()[0]["id"], stream=True):
        started = time.monotonic()
        simulator.process.send_signal(name)
        assert simulator.process.wait(TIMEOUT) == 0
        assert not any(_alive(render) for render in renders)
        assert time.monotonic() - started < 1
    assert simulator.end() == ""


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port), state=tmp_path / "state.sqlite3")
    assert ended.returncode == 1
    assert ended.stderr == f"simulator: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert ended.stdout == ""


def test_it_listens_on_a_socket_that_it_inherits(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        given = command(tmp_path / "state.sqlite3", "--tiny", "--socket", str(listening.fileno()))
        process = subprocess.Popen(
            given, cwd=ROOT, stdout=subprocess.PIPE, text=True, pass_fds=[listening.fileno()]
        )
    with process:
        try:
            # A request that comes before it is ready waits.
            url = f"http://127.0.0.1:{port}/v1"
            answer = requests.get(f"{url}/videos", headers={"Authorization": "Bearer key"}, timeout=TIMEOUT)
            assert answer.ok
            assert process.stdout is not None
            assert process.stdout.readline() == f"simulator: {url}\n"
        finally:
            process.terminate()
        assert process.wait(TIMEOUT) == 0


def test_a_descriptor_that_is_no_socket_is_one_line(tmp_path: Path) -> None:
    ended = run("--tiny", "--socket", "99", state=tmp_path / "state.sqlite3")
    assert ended.returncode == 1
    assert ended.stderr == "simulator: cannot listen on descriptor 99: [Errno 9] Bad file descriptor\n"


def test_a_state_file_serves_one_simulator_at_a_time(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny")
    ended = run(state=simulator.state)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"simulator: cannot use the state file {simulator.state}: another simulator uses it\n"
    )


def test_a_successor_waits_for_a_predecessor_that_is_dying(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny")
    with subprocess.Popen(
        command(simulator.state, "--tiny"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as successor:
        assert successor.stdout is not None
        lock = simulator.state.with_name("state.sqlite3.lock")
        eventually(lambda: _holds(successor.pid, lock), "the successor waits")
        simulator.kill()
        assert successor.stdout.readline().startswith("simulator: http://")
        successor.terminate()
        assert successor.wait(TIMEOUT) == 0


def test_a_state_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite3").write_text("not a database, but long enough to be taken for one" * 100)
    ended = run(state=tmp_path / "state.sqlite3")
    assert ended.returncode == 1
    assert ended.stderr.startswith("simulator: cannot use the state file")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--port", "65536"), "a port is a number from 0 to 65535"),
        (("--render-seconds", "-1"), "seconds are a number, 0 or more"),
        (("--render-seconds", "nan"), "seconds are a number, 0 or more"),
        (("--webhook-url", "http://here"), "a webhook needs a secret"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    ended = run(*options, state=tmp_path / "state.sqlite3")
    assert ended.returncode == 2
    assert says in ended.stderr


def test_it_ends_with_the_process_that_started_it_if_it_is_told_to(tmp_path: Path) -> None:
    ready = tmp_path / "url"
    options = ("--tiny", "--exit-with-parent", "--ready-file", str(ready))
    parent = (
        "import subprocess, sys, time; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, *command(tmp_path / "state.sqlite3", *options)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        simulator = int(process.stdout.readline())
        eventually(ready.exists, "the simulator is ready")
        assert _alive(simulator)
        process.kill()
        try:
            eventually(lambda: not _alive(simulator), "the simulator is gone")
        finally:
            with suppress(ProcessLookupError):
                os.kill(simulator, signal.SIGKILL)


def test_it_is_small_and_idle(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0")
    for _ in range(20):
        simulator.content(simulator.made())
    pid = simulator.process.pid
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident < 50_000_000
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert "PIL" not in maps
    assert "libavcodec" not in maps


def test_requests_are_logged_only_when_that_is_asked_for(
    start: Callable[..., Simulator], tmp_path: Path
) -> None:
    quiet, verbose = start("--tiny"), start("--tiny", "--verbose", state=tmp_path / "other.sqlite3")
    for simulator in (quiet, verbose):
        simulator.made()
    assert quiet.end() == ""
    assert verbose.end().startswith("POST /v1/videos 200 ")


def _all_children(pid: int) -> list[int]:
    # A process that another thread started is a child of that thread.
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _holds(pid: int, path: Path) -> bool:
    handles = Path(f"/proc/{pid}/fd")
    try:
        return any(handle.resolve() == path for handle in handles.iterdir())
    except FileNotFoundError:
        return False
