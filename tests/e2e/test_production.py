"""The parts of a production deployment, each a process of its own."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg import sql

from tests.e2e.caller import Caller, ledger
from tests.e2e.processes import Program
from tests.services import connect

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(110)]


@pytest.fixture
def database() -> Iterator[str]:
    """The address of a fresh database on the run's PostgreSQL."""
    server = os.environ["DATABASE_URL"]
    name = f"{urlsplit(server).path.strip('/')}_e2e_{uuid.uuid4().hex[:8]}"
    with connect(server) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


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
    celery = ["-m", "celery", "-A", "config"]
    parts = [
        web,
        start([*celery, "worker", "-P", "threads", "-c", "4", "--loglevel", "WARNING"], settings),
        start([*celery, "beat", "--schedule", str(tmp_path / "beat"), "--loglevel", "WARNING"], settings),
    ]

    job, statuses = caller.follow(caller.ask_for("A harbour at dawn"), within=45)

    assert statuses == ["pending", "processing", "completed"]
    assert caller.get(job["result"]["videoUrl"]).content[4:8] == b"ftyp"
    assert [entry["prompt"] for entry in ledger(upstream)] == ["A harbour at dawn"]
    for part in parts:
        part.process.terminate()
        assert part.ends(within=15) == 0, part.report()
        assert "Traceback" not in part.output
