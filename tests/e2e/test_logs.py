"""The logs of separate processes: one search finds a job in all, and what keeps failing fills none."""

import json
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import requests

from tests.e2e.caller import Caller
from tests.e2e.processes import Program, eventually, run
from tests.servers import Absent, Server, own_redis
from tests.services import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(110)]

needs_redis = pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="needs Redis; this run has none")
CELERY = ["-m", "celery", "--quiet", "-A", "config"]


def lines_of(program: Program) -> list[dict[str, Any]]:
    """All that a process has written, each line of which is JSON."""
    return [json.loads(line) for line in program.output.splitlines()]


@pytest.mark.postgres
@needs_redis
def test_one_search_finds_a_job_in_the_logs_of_all_processes(
    database: str,
    start: Callable[..., Program],
    start_simulator: Callable[..., tuple[Program, str]],
    start_web: Callable[..., tuple[Program, Caller]],
    tmp_path: Path,
) -> None:
    _, upstream = start_simulator()
    settings = {
        "DATABASE_URL": database,
        "REDIS_URL": os.environ["REDIS_URL"],
        "TAKEONE_VAR": str(tmp_path / "var"),
        "SECRET_KEY": uuid.uuid4().hex * 2,
        "SORA_BASE_URL": upstream,
        "SORA_PROVIDER": "rented",
        "SORA_API_KEY": "a-key",
        "SORA_SYNC_SECONDS_MIN": "1",
    }
    web, caller = start_web(settings)
    parts = {
        "web": web,
        "worker": start([*CELERY, "worker", "-P", "threads", "-c", "4"], settings),
        "beat": start([*CELERY, "beat", "--schedule", str(tmp_path / "beat")], settings),
    }
    request_id = f"test-{uuid.uuid4().hex}"
    answer = requests.post(
        f"{caller.address}/api/v1/videos",
        json={"prompt": "A harbour at dawn"},
        headers={**caller.headers, "x-request-id": request_id},
        timeout=20,
    )
    job_id = answer.json()["data"]["jobId"]
    caller.follow(job_id, within=45)

    found = [
        (line["timestamp"], name, line)
        for name, program in parts.items()
        for line in lines_of(program)
        if job_id in json.dumps(line) and line["event"] != "request answered"
    ]
    assert {line["request_id"] for _, _, line in found} == {request_id}
    told = [
        (name, line["event"], line.get("to_state") or line.get("call"))
        for _, name, line in sorted(found, key=lambda each: each[0])
    ]
    assert told == [
        ("web", "job changed", "pending"),
        ("worker", "submission changed", "sending"),
        ("worker", "upstream called", "create"),
        ("worker", "submission changed", "rendering"),
        ("worker", "job changed", "processing"),
        ("worker", "submission changed", "rendered"),
        ("worker", "upstream called", "download"),
        *([("worker", "upstream called", "download")] if told.count(told[6]) == 2 else []),
        ("worker", "submission changed", "stored"),
        ("worker", "job changed", "completed"),
    ]
    assert all(line["duration_ms"] > 0 for _, _, line in found if line["event"] == "upstream called")
    (asked,) = [
        line
        for line in lines_of(web)
        if line["event"] == "request answered" and line["request_id"] == request_id
    ]
    assert (asked["method"], asked["path"], asked["status"]) == ("POST", "/api/v1/videos", 201)
    done = {line["task"] for line in lines_of(parts["worker"]) if line["event"] == "task done"}
    assert {"videos.submit", "videos.sweep", "videos.attend"} <= done


class Gone:
    """A server that closes each connection at once, and counts them."""

    def __init__(self, port: int = 0) -> None:
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def gone() -> Iterator[Gone]:
    server = Gone()
    yield server
    server.close()


def hears_of_it_rarely(program: Program, gone: Gone, *, attempts: int) -> None:
    """Many attempts in vain are few lines, the first of them at once."""
    before = gone.connections
    eventually(lambda: program.running() and gone.connections >= before + attempts, "attempts", within=60)
    lines = lines_of(program)
    assert any(line["level"] in {"warning", "error", "critical"} for line in lines), program.report()
    assert len(lines) <= 8, program.report()
    program.interrupt()
    program.process.wait(15)


@pytest.fixture
def own_broker() -> Iterator[Server]:
    try:
        with own_redis(free_port()) as server:
            yield server
    except Absent as error:
        pytest.skip(str(error))


def test_a_beat_that_loses_its_redis_writes_few_lines(
    start: Callable[..., Program], own_broker: Server, tmp_path: Path
) -> None:
    settings = {"REDIS_URL": own_broker.url, "TAKEONE_VAR": str(tmp_path / "var")}
    run(["manage.py", "migrate", "--verbosity", "0"], settings)
    beat = start([*CELERY, "beat", "--schedule", str(tmp_path / "beat")], settings)
    with redis.Redis.from_url(own_broker.url, socket_timeout=5) as connection:
        eventually(lambda: beat.running() and connection.dbsize(), "its first message", within=30)
    own_broker.stop()
    gone = Gone(urlsplit(own_broker.url).port or 0)
    try:
        hears_of_it_rarely(beat, gone, attempts=40)
    finally:
        gone.close()


@pytest.mark.nightly
def test_work_without_postgresql_writes_few_lines(
    start: Callable[..., Program], gone: Gone, tmp_path: Path
) -> None:
    address = f"postgres://ada@127.0.0.1:{gone.port}/takeone"
    settings = {"DATABASE_URL": address, "TAKEONE_VAR": str(tmp_path / "var"), "DISPATCH_SECONDS": "0.2"}
    hears_of_it_rarely(start(["manage.py", "work"], settings), gone, attempts=60)


@needs_redis
def test_a_worker_without_postgresql_writes_few_lines(
    start: Callable[..., Program], gone: Gone, tmp_path: Path
) -> None:
    settings = {
        "DATABASE_URL": f"postgres://ada@127.0.0.1:{gone.port}/takeone",
        "REDIS_URL": os.environ["REDIS_URL"],
        "TAKEONE_VAR": str(tmp_path / "var"),
        "SECRET_KEY": uuid.uuid4().hex * 2,
        "DISPATCH_SECONDS": "0.2",
    }
    start([*CELERY, "beat", "--schedule", str(tmp_path / "beat")], settings)
    worker = start([*CELERY, "worker", "-P", "threads", "-c", "4"], settings)
    hears_of_it_rarely(worker, gone, attempts=60)
