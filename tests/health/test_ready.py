"""/ready by the rows of a real database; its checks have connections of their own, so all is committed."""

import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import Settings

from health import checks
from health.readiness import checker, migrations_applied
from health.readiness.probe import CheckFailed
from health.readiness.work import read_work
from health.rules import monitoring_is_configured
from tests.timeouts import TIMEOUT
from upstreams.clock import database_now
from upstreams.models import Provider
from videos.models import Heartbeat
from videos.queue import heartbeats

pytestmark = pytest.mark.django_db(transaction=True)

ALL_HEALTHY = dict.fromkeys(checks.NAMES, "healthy")


@pytest.fixture
def everybody_works() -> None:
    """A worker and beat that have just reported, and an upstream that has just answered."""
    now = database_now()
    for role in (Heartbeat.Role.WORKER, Heartbeat.Role.BEAT):
        heartbeats.record(role, worked=True)
    Provider.objects.create(name="simulator", answered_at=now)


def ready(client: Client) -> tuple[int, dict[str, str]]:
    answer = client.get("/ready")
    assert answer.json()["ready"] is (answer.status_code == 200)
    assert answer.json()["timestamp"].endswith("Z")
    return answer.status_code, answer.json()["checks"]


@pytest.mark.usefixtures("everybody_works")
def test_a_deployment_that_works_is_ready(anybody: Client) -> None:
    assert ready(anybody) == (200, ALL_HEALTHY)


@pytest.mark.usefixtures("everybody_works")
@pytest.mark.parametrize(("required", "status"), [(["repository", "soraClient"], 200), (["worker"], 503)])
def test_a_check_that_is_not_required_is_said_and_is_no_503(
    anybody: Client, settings: Settings, required: list[str], status: int
) -> None:
    settings.READY_REQUIRES = required
    long_ago = database_now() - timedelta(minutes=5)
    Heartbeat.objects.filter(role="worker").update(alive_at=long_ago, worked_at=long_ago)
    found, said = ready(anybody)
    assert found == status
    since = long_ago.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert said == {**ALL_HEALTHY, "worker": f"unhealthy since {since}: no worker runs"}


@pytest.mark.usefixtures("everybody_works")
def test_a_pause_is_a_503_that_says_since_when_and_not_what_the_upstream_said(anybody: Client) -> None:
    Provider.objects.update(paused_at="2026-11-21T10:00:00Z", pause_reason="GET 10.0.0.7/v1: sk-123")
    status, said = ready(anybody)
    assert status == 503
    assert said["soraClient"] == (
        "unhealthy since 2026-11-21T10:00:00.000Z: paused, because the upstream refuses our key or address"
    )


@pytest.mark.usefixtures("everybody_works")
def test_the_upstream_is_not_called(anybody: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr("upstreams.client.exchange.Session.send", connect)
    assert ready(anybody)[0] == 200


@pytest.mark.usefixtures("everybody_works")
def test_an_open_breaker_is_a_503(anybody: Client, settings: Settings) -> None:
    Provider.objects.update(failures=settings.SORA_BREAKER_FAILURES)
    status, said = ready(anybody)
    assert status == 503
    assert "creates in a row have failed" in said["soraClient"]


@pytest.mark.usefixtures("everybody_works")
def test_without_a_database_that_alone_is_said(
    anybody: Client, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("connection to 10.0.0.7 as takeone failed: password")

    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.connect", away)
    settings.READY_REQUIRES = ["soraClient"]
    status, said = ready(anybody)
    assert status == 503, "a required check that cannot be made is not met"
    assert said.pop("repository").endswith(": the database does not answer")
    assert said == {"broker": "healthy", "storage": "healthy", "memory": "healthy"}


def test_after_the_database_was_away_nobody_is_missed_who_could_not_report(
    anybody: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = database_now() - timedelta(minutes=5)
    for role in ("worker", "beat"):
        Heartbeat.objects.create(role=role, alive_at=long_ago, worked_at=long_ago, working_since=long_ago)
    assert {name for name, said in ready(anybody)[1].items() if said != "healthy"} == {"worker", "beat"}
    repository = checker.checker._repository
    repository._well_since = time.monotonic() - 9
    assert set(ready(anybody)[1].values()) == {"healthy"}
    repository._well_since = time.monotonic() - 11
    assert {name for name, said in ready(anybody)[1].items() if said != "healthy"} == {"worker", "beat"}


@pytest.mark.usefixtures("everybody_works")
def test_pending_migrations_are_a_503_that_says_so(anybody: Client) -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("videos", "0001_first_release")
    try:
        status, said = ready(anybody)
    finally:
        recorder.record_applied("videos", "0001_first_release")
    assert status == 503
    assert said["repository"].endswith("1 migrations are pending; run manage.py migrate")
    assert "soraClient" not in said


def test_an_empty_database_is_a_503_that_says_so(anybody: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MigrationRecorder, "has_table", lambda self: False)
    status, said = ready(anybody)
    assert status == 503
    assert "migrations are pending" in said["repository"]


def test_a_database_of_a_later_release_is_not_ready() -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_applied("videos", "0099_of_tomorrow")
    try:
        with pytest.raises(CheckFailed, match="1 migrations of another release"):
            migrations_applied.require()
    finally:
        recorder.record_unapplied("videos", "0099_of_tomorrow")
    migrations_applied.require()


def test_under_the_work_command_there_is_no_broker_and_no_beat(
    anybody: Client, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.READY_REQUIRES = ["repository", "broker", "beat"]
    monkeypatch.setattr(checks, "uses_broker", lambda: False)
    heartbeats.record(Heartbeat.Role.WORK, worked=True)
    status, said = ready(anybody)
    assert status == 200
    assert set(said) == {"repository", "soraClient", "worker", "storage", "memory"}
    assert set(said.values()) == {"healthy"}


def test_reading_costs_three_statements_and_closes_its_connection(
    django_assert_num_queries: Any, everybody_works: None
) -> None:
    with django_assert_num_queries(3):
        read_work("simulator")
    mine = connections["default"]
    checks.repository()
    assert connections["default"] is mine


def test_a_redis_that_is_away_is_said_without_its_address(settings: Settings) -> None:
    settings.REDIS_URL = "redis://:secret@127.0.0.1:1/0"
    with pytest.raises(CheckFailed) as failed:
        checks.broker()
    assert str(failed.value) == "Redis does not answer"


def test_a_redis_that_does_not_speak_is_noticed_in_time(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with pytest.raises(CheckFailed, match="does not answer"):
            checks.broker()


def test_a_redis_that_takes_no_write_is_noticed(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(65536):
                    replies = data.count(b"*")
                    is_set = b"SET" in data.upper().split(b"\r\n")
                    answer = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
                    connection.sendall(answer if is_set else b"+OK\r\n" * max(1, replies))

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        settings.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}/0?protocol=2"
        with pytest.raises(CheckFailed, match="refuses to store"):
            checks.broker()
        thread.join(TIMEOUT)


def test_storage_without_a_folder_that_can_be_written_is_said(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "file"
    settings.MEDIA_ROOT.write_text("no folder")
    with pytest.raises(CheckFailed) as failed:
        checks.storage()
    assert str(tmp_path) not in str(failed.value)
    settings.MEDIA_ROOT.unlink()
    checks.storage()
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind, and makes no folder"


def test_storage_that_runs_out_is_said(settings: Settings) -> None:
    settings.MIN_FREE_STORAGE_BYTES = 1 << 60
    with pytest.raises(CheckFailed, match="bytes are free, and there should be 1152921504606846976"):
        checks.storage()


def test_a_check_that_others_add_to_storage_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def unmounted(folder: Path) -> None:
        raise CheckFailed("the disk is not mounted")

    monkeypatch.setattr(checks, "STORAGE_CHECKS", [unmounted, *checks.STORAGE_CHECKS])
    with pytest.raises(CheckFailed, match="not mounted"):
        checks.storage()


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., int | None]:
    def free(available_kb: int | None, **cgroup: str) -> int | None:
        lines = "MemTotal: 9 kB\n" + (f"MemAvailable: {available_kb} kB\n" if available_kb else "")
        (tmp_path / "meminfo").write_text(lines)
        for name, content in cgroup.items():
            (tmp_path / f"memory.{name}").write_text(content)
        return checks.free_memory(tmp_path, tmp_path)

    return free


def test_free_memory_is_the_machines_or_the_containers(machine: Callable[..., int | None]) -> None:
    assert machine(100) == 102_400
    assert machine(100, max="max", current="5", stat="inactive_file 0") == 102_400
    assert machine(100, max="1000", current="400", stat="anon 1\ninactive_file 100") == 700
    assert machine(100, max="1000", current="2000", stat="") == 0
    assert machine(None, max="max") is None


def test_memory_that_runs_out_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MIN_FREE_MEMORY_BYTES = 100
    monkeypatch.setattr(checks, "free_memory", lambda: 99)
    with pytest.raises(CheckFailed, match="99 bytes are free"):
        checks.memory()
    for enough in (100, None):
        monkeypatch.setattr(checks, "free_memory", lambda enough=enough: enough)
        checks.memory()


def test_settings_that_make_no_sense_are_refused(settings: Settings) -> None:
    assert monitoring_is_configured(None) == []
    settings.READY_REQUIRES = ["repository", "database"]
    settings.METRICS_TOKEN = "short"
    assert [each.id for each in monitoring_is_configured(None)] == ["health.E001", "health.E002"]
