"""The parts of a production deployment, each a process of its own."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.caller import Caller, ledger
from tests.e2e.processes import Program, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(110)]


@pytest.mark.postgres
@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="needs Redis; this run has none")
def test_separate_processes_complete_a_job(
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
    celery = ["-m", "celery", "--quiet", "-A", "config"]
    parts = [
        web,
        start([*celery, "worker", "-P", "threads", "-c", "4"], settings),
        start([*celery, "beat", "--schedule", str(tmp_path / "beat")], settings),
    ]

    job, statuses = caller.follow(caller.ask_for("A harbour at dawn"), within=45)

    assert statuses == ["pending", "processing", "completed"]
    assert caller.get(job["result"]["videoUrl"]).content[4:8] == b"ftyp"
    assert [entry["prompt"] for entry in ledger(upstream)] == ["A harbour at dawn"]
    for part in parts:
        part.process.terminate()
        assert part.ends(within=15) == 0, part.report()
        assert "Traceback" not in part.output


@pytest.mark.postgres
@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="needs Redis; this run has none")
def test_a_create_is_published_and_wakes_a_worker(
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
    }
    _, caller = start_web(settings)
    # There is no beat, so nothing but the create's own message tells it of the job.
    start(["-m", "celery", "-A", "config", "worker", "-P", "threads", "-c", "2"], settings)
    caller.ask_for("A lighthouse in fog")
    eventually(lambda: ledger(upstream), "the submission of the job", within=20)
