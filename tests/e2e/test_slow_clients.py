"""Clients without a key that send or read slowly keep nobody from being served, in either way to run it."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.e2e.caller import Caller
from tests.e2e.processes import Program
from tests.timeouts import TIMEOUT

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(110)]
_MANY = 300


@contextmanager
def unfinished(caller: Caller, count: int) -> Iterator[None]:
    """Connections with a body of which half is sent, to the log-in."""
    parts = urlsplit(caller.address)
    head = (
        "POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        "Content-Length: 100\r\n\r\n" + '{"username": '
    )
    with ExitStack() as stack:
        for _ in range(count):
            client = socket.create_connection((str(parts.hostname), parts.port or 80), timeout=TIMEOUT)
            stack.enter_context(client).sendall(head.encode())
        yield


def serves(caller: Caller) -> bool:
    began = time.monotonic()
    assert requests.get(f"{caller.address}/health", timeout=TIMEOUT).status_code == 200
    answer = requests.get(f"{caller.address}/api/v1/videos", headers=caller.headers, timeout=TIMEOUT)
    assert answer.status_code == 200
    return time.monotonic() - began < 3


def test_bodies_that_are_never_finished_stop_no_separate_server(
    start_web: Callable[..., tuple[Program, Caller]], tmp_path: Path
) -> None:
    web, caller = start_web({"TAKEONE_VAR": str(tmp_path / "var"), "WEB_CONNECTIONS": "100"})
    # More than the connections that are kept.
    with unfinished(caller, _MANY):
        assert serves(caller)
        # What has been asked is answered before it ends, and nobody waits for those.
        began = time.monotonic()
        web.process.terminate()
        assert web.ends(within=20) == 0
        assert time.monotonic() - began < 10


def test_bodies_that_are_never_finished_do_not_stop_the_one_process(up: Callable[..., Any]) -> None:
    everything = up()
    with unfinished(everything.caller, _MANY):
        assert serves(everything.caller)
        job, _ = everything.caller.follow(everything.caller.ask_for("A boat"), within=40)
        assert job["status"] == "completed"


def test_a_long_address_is_answered_in_the_envelope(
    start_web: Callable[..., tuple[Program, Caller]], tmp_path: Path
) -> None:
    _, caller = start_web({"TAKEONE_VAR": str(tmp_path / "var")})
    for length, status in ((5_000, 404), (100_000, 431)):
        answer = requests.get(f"{caller.address}/{'a' * length}", timeout=TIMEOUT)
        assert answer.status_code == status
        assert answer.json()["success"] is False
