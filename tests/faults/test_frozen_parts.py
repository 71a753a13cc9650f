"""A part that is frozen, not gone: nobody waits for it longer than a caller's patience."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.e2e.processes import Program, eventually
from tests.faults.books import is_quiet, judge
from tests.faults.persistent import ask_for, insist
from tests.faults.stack import Stack, running
from tests.servers import Absent

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(200)]
_TOLD_WITHIN_SECONDS = 5
_AT_ONCE_SECONDS = 1

# A process of the deployment that is stopped in the midst of a claim, with the provider's row locked.
_FROZEN_IN_A_CLAIM = """
import os, signal
from django.db import transaction
from upstreams.models import Provider
with transaction.atomic():
    Provider.objects.select_for_update().get()
    print("locked", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    Provider.objects.update(failures=77)
"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    try:
        with running(tmp_path_factory.mktemp("frozen"), simulator=["--render-seconds", "1"]) as stack:
            yield stack
    except Absent as error:
        pytest.skip(str(error))


@pytest.fixture
def stack(deployment: Stack) -> Iterator[Stack]:
    """The deployment, well and at rest before and after; nothing is wrong in its books."""
    yield deployment
    assert deployment.mend() == []
    eventually(lambda: is_quiet(deployment), "all work ended", within=60)
    assert judge(deployment, []).faults() == {}


@contextmanager
def frozen_postgresql(stack: Stack) -> Iterator[None]:
    """Every process of it: those that serve a connection too."""
    assert stack.postgresql.process is not None
    first = stack.postgresql.process.pid
    stopped: list[int] = []
    try:
        os.kill(first, signal.SIGSTOP)
        stopped.append(first)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _parent(entry) == first:
                os.kill(int(entry.name), signal.SIGSTOP)
                stopped.append(int(entry.name))
        yield
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def timed(method: str, address: str, **options: object) -> tuple[requests.Response, float]:
    began = time.monotonic()
    answer = requests.request(method, address, timeout=30, **options)  # type: ignore[arg-type]
    return answer, time.monotonic() - began


def status_of(stack: Stack, job: str) -> str:
    """Each web process finds out by itself that the database answers again."""
    return str(insist(stack, "GET", f"/{job}").json()["data"]["status"])


def test_a_frozen_postgresql_is_said_within_seconds_to_everybody(stack: Stack) -> None:
    before = ask_for(stack, "Before it froze")
    caller = stack.caller
    address = f"{caller.address}/api/v1/videos"
    with frozen_postgresql(stack), ThreadPoolExecutor(40) as pool:
        asked = [
            pool.submit(timed, "POST", address, json={"prompt": "x"}, headers=caller.headers)
            if number % 2
            else pool.submit(timed, "GET", f"{address}/{before}", headers=caller.headers)
            for number in range(40)
        ]
        health = [timed("GET", f"{caller.address}/health") for _ in range(5)]
        for answer, seconds in (each.result() for each in asked):
            assert answer.status_code == 503, answer.text
            assert answer.json()["error"]["code"] == "database_unavailable"
            assert int(answer.headers["Retry-After"]) > 0
            assert seconds < _TOLD_WITHIN_SECONDS
        # Those that come later, too, and as long as it lasts.
        for _ in range(10):
            answer, seconds = timed("GET", address, headers=caller.headers)
            assert answer.status_code == 503
            assert seconds < _TOLD_WITHIN_SECONDS
        for answer, seconds in [*health, timed("GET", f"{caller.address}/health")]:
            assert answer.status_code == 200
            assert seconds < _AT_ONCE_SECONDS
    after = ask_for(stack, "After it went on")
    for job in (before, after):
        eventually(lambda job=job: status_of(stack, job) == "completed", "the job", within=40)


def test_a_worker_that_is_frozen_in_a_claim_holds_nobody_up(stack: Stack, tmp_path: Path) -> None:
    frozen = Program(
        ["manage.py", "shell", "--no-imports", "-c", _FROZEN_IN_A_CLAIM], stack.settings, tmp_path / "log"
    )
    try:
        eventually(lambda: "locked" in frozen.output, "the lock", within=20)
        began = time.monotonic()
        job = stack.caller.ask_for("While one is frozen")
        while stack.caller.job(job)["status"] != "completed":
            _, seconds = timed("GET", f"{stack.caller.address}/api/v1/videos", headers=stack.caller.headers)
            assert seconds < _AT_ONCE_SECONDS
            assert time.monotonic() - began < 15
        # What it had begun is undone, and stays so when it goes on.
        frozen.process.send_signal(signal.SIGCONT)
        assert frozen.ends(within=20) != 0
        assert "OperationalError" in frozen.output, frozen.report()
        assert stack.ask("SELECT failures FROM upstreams_provider") != [(77,)]
    finally:
        frozen.kill()
