"""Each part of a deployment stopped in turn: /ready names it, soon, and nothing else."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.e2e.processes import eventually, members
from tests.faults.stack import SIMULATOR, WORKERS, Stack, running
from tests.servers import Absent
from tests.timeouts import TIMEOUT

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(300)]

_NAMED_WITHIN = 15
# Past all that is noticed late, such as a worker without tasks.
_WATCHED = 16
_WORKERS = [f"worker-{pool}" for pool in WORKERS]
_BEATS = ["beat-1", "beat-2"]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("ready")
    settings = {"MIN_FREE_STORAGE_BYTES": "1", "MIN_FREE_MEMORY_BYTES": "1", "SORA_PROVIDER": "stand-in"}
    settings |= {"TAKEONE_MEDIA": str(folder / "media")}
    try:
        with running(folder, settings, simulator=["--render-seconds", "1"]) as stack:
            # The first video makes the folder and its marker, whichever test comes first.
            stack.caller.follow(stack.caller.ask_for("The first"), within=60)
            yield stack
    except Absent as error:
        pytest.skip(str(error))


@pytest.fixture
def stack(deployment: Stack) -> Stack:
    well_since = time.monotonic()

    def is_well() -> bool:
        nonlocal well_since
        if named(deployment):
            well_since = time.monotonic()
        # Each web process has answers of its own.
        return time.monotonic() - well_since > 4

    eventually(is_well, "all healthy", within=60)
    return deployment


def look(stack: Stack) -> tuple[int, dict[str, Any]]:
    begun = time.monotonic()
    answer = requests.get(f"{stack.settings['TAKEONE_URL']}/ready", timeout=TIMEOUT)
    # What the checks may take, and what a busy machine does.
    assert time.monotonic() - begun < 2.5
    return answer.status_code, answer.json()


def named(stack: Stack) -> dict[str, str]:
    """What is not healthy, by name."""
    checks = look(stack)[1]["checks"]
    return {name: said for name, said in checks.items() if said != "healthy"}


def kill(stack: Stack, names: list[str]) -> None:
    for name in names:
        stack.parts[name].kill()


def send(stack: Stack, names: list[str], number: signal.Signals) -> None:
    for name in names:
        with suppress(ProcessLookupError):
            # A whole part: its children work on otherwise.
            os.killpg(stack.parts[name].session, number)


def freeze_postgresql(stack: Stack, number: signal.Signals) -> None:
    assert stack.postgresql.process is not None
    for process in members(stack.postgresql.process.pid):
        with suppress(ProcessLookupError):
            os.kill(process, number)


def spoil(stack: Stack) -> None:
    media = Path(stack.settings["TAKEONE_MEDIA"])
    media.rename(media.with_name("aside"))
    media.write_text("no folder")


def mend(stack: Stack) -> None:
    """With the marker in it, by which the folder is known again."""
    media = Path(stack.settings["TAKEONE_MEDIA"])
    media.unlink()
    media.with_name("aside").rename(media)


Act = Callable[[Stack], Any]
_PARTS: dict[str, tuple[Act, Act, str]] = {
    "workers killed": (lambda s: kill(s, _WORKERS), lambda s: s.start(*_WORKERS), "worker"),
    "workers frozen": (
        lambda s: send(s, _WORKERS, signal.SIGSTOP),
        lambda s: send(s, _WORKERS, signal.SIGCONT),
        "worker",
    ),
    "beats killed": (lambda s: kill(s, _BEATS), lambda s: s.start(*_BEATS), "beat"),
    "Redis killed": (lambda s: s.redis.stop(signal.SIGKILL), lambda s: s.redis.start(), "broker"),
    "Redis frozen": (
        lambda s: s.redis.send(signal.SIGSTOP),
        lambda s: s.redis.send(signal.SIGCONT),
        "broker",
    ),
    "PostgreSQL ended": (lambda s: s.postgresql.stop(), lambda s: s.postgresql.start(), "repository"),
    "PostgreSQL frozen": (
        lambda s: freeze_postgresql(s, signal.SIGSTOP),
        lambda s: freeze_postgresql(s, signal.SIGCONT),
        "repository",
    ),
    "upstream killed": (lambda s: kill(s, [SIMULATOR]), lambda s: s.start(SIMULATOR), "soraClient"),
    "upstream frozen": (
        lambda s: send(s, [SIMULATOR], signal.SIGSTOP),
        lambda s: send(s, [SIMULATOR], signal.SIGCONT),
        "soraClient",
    ),
    "no folder for videos": (spoil, mend, "storage"),
}


# Each takes a quarter of a minute. A frozen part and a killed one fall silent alike: /ready finds both by the
# same marks. The others that stop are found in the same two ways: by a row that is old, or by asking.
_AT_ONCE = {"workers killed", "PostgreSQL ended", "no folder for videos"}
_IN_TURN = [pytest.param(part, marks=[] if part in _AT_ONCE else [pytest.mark.nightly]) for part in _PARTS]


@pytest.mark.parametrize("part", _IN_TURN)
def test_a_part_that_stops_is_named_and_nothing_else(stack: Stack, part: str) -> None:
    stop, start, name = _PARTS[part]
    begun = time.monotonic()
    stop(stack)
    try:
        seen: dict[str, tuple[float, str]] = {}
        while time.monotonic() - begun < _WATCHED:
            for each, said in named(stack).items():
                seen.setdefault(each, (time.monotonic() - begun, said))
            time.sleep(0.2)
        status, _ = look(stack)
    finally:
        start(stack)
    assert set(seen) == {name}, seen
    assert seen[name][0] < _NAMED_WITHIN
    assert status == (503 if name in {"repository", "soraClient"} else 200)


def test_it_recovers_and_the_service_renders(stack: Stack) -> None:
    stack.caller.follow(stack.caller.ask_for("After it all"), within=60)
    assert named(stack) == {}


def test_the_web_shows_what_the_workers_have_counted(stack: Stack) -> None:
    stack.caller.follow(stack.caller.ask_for("To be counted"), within=60)

    def stored() -> float:
        address = f"{stack.settings['TAKEONE_URL']}/metrics?format=prometheus"
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in parse(requests.get(address, timeout=TIMEOUT).text)
            for sample in family.samples
        }
        counted = [
            ("takeone_http_requests_total", "POST", "api/v1/videos", "201"),
            ("takeone_upstream_requests_total", "create", "answered"),
            ("takeone_submission_moves_total", "stored"),
        ]
        return min(found.get(sample, 0) for sample in counted)

    # No other process is asked: each adds what it has counted a few seconds later.
    eventually(stored, "the counts of all processes", within=15)
