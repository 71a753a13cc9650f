"""Signs of life: what is written, by whom, and what it means for estimates."""

import time
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from celery.worker import state
from django.db import OperationalError

from health.tasks import heartbeat
from upstreams.clock import database_now, shifted
from upstreams.registry import Upstream
from videos.models import Heartbeat
from videos.queue import celery_pulse, heartbeats
from videos.queue.celery_pulse import PulsedScheduler, WorkerPulse, has_running_task
from videos.queue.heartbeats import STALE_AFTER, Pulse, clock_and_last_work, record

pytestmark = pytest.mark.django_db
WORKER, BEAT, WORK = Heartbeat.Role.WORKER, Heartbeat.Role.BEAT, Heartbeat.Role.WORK


def test_a_sign_of_life_is_no_proof_of_work() -> None:
    record(WORKER, worked=False)
    row = Heartbeat.objects.get(role=WORKER)
    assert (row.worked_at, row.working_since) == (None, None)
    record(WORKER, worked=True)
    worked = Heartbeat.objects.get(role=WORKER)
    assert worked.worked_at == worked.working_since is not None
    record(WORKER, worked=False)
    assert Heartbeat.objects.get(role=WORKER).worked_at == worked.worked_at


def test_work_without_a_gap_keeps_its_beginning() -> None:
    record(WORKER, worked=True)
    since = Heartbeat.objects.get().working_since
    with shifted(timedelta(seconds=9)):
        record(WORKER, worked=True)
    assert Heartbeat.objects.get().working_since == since
    with shifted(timedelta(seconds=9) + STALE_AFTER + timedelta(seconds=1)):
        record(WORKER, worked=True)
    later = Heartbeat.objects.get()
    assert later.working_since == later.worked_at != since


def test_a_task_that_came_by_a_message_is_a_workers_and_one_that_was_called_the_commands() -> None:
    heartbeat()
    assert Heartbeat.objects.get().role == WORK
    heartbeat.push_request(called_directly=False)
    heartbeat.run()
    assert set(Heartbeat.objects.values_list("role", flat=True)) == {WORK, WORKER}
    assert all(row.worked_at for row in Heartbeat.objects.all())


def test_the_last_work_is_that_of_any_worker_and_not_of_beat(upstream: Upstream) -> None:
    provider = upstream.provider()
    now, last = clock_and_last_work(provider)
    assert last is None
    assert abs(now - database_now()) < timedelta(seconds=5)
    record(BEAT, worked=True)
    record(WORKER, worked=False)
    assert clock_and_last_work(provider)[1] is None, "a worker that only lives does no work"
    record(WORKER, worked=True)
    first = Heartbeat.objects.get(role=WORKER).worked_at
    assert clock_and_last_work(provider)[1] == first
    with shifted(timedelta(seconds=60)):
        record(WORK, worked=True)
        now, last = clock_and_last_work(provider)
    assert last == Heartbeat.objects.get(role=WORK).worked_at
    assert abs(now - last) < timedelta(seconds=5)


def test_a_pulse_reports_what_its_process_says_and_survives_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeats.connections, "close_all", lambda: None)
    Pulse(BEAT, alive=lambda: False).beat()
    assert not Heartbeat.objects.exists()
    Pulse(BEAT, works=lambda: True).beat()
    assert Heartbeat.objects.get().worked_at is not None

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(heartbeats, "record", away)
    Pulse(BEAT).beat()


class Request:
    """What a Celery worker keeps of a task that it has begun."""

    def __init__(self, begun: float | None) -> None:
        self.time_start = begun


def test_a_long_task_is_work_and_one_that_hangs_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Request] = []
    monkeypatch.setattr(state, "active_requests", requests)
    assert not has_running_task()
    requests.append(Request(None))
    assert not has_running_task()
    requests.append(Request(time.time() - 600))
    assert has_running_task()
    requests[-1].time_start = time.time() - 86_400
    assert not has_running_task()


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> PulsedScheduler:
    monkeypatch.setattr(celery_pulse.Pulse, "start", lambda self: None)
    return PulsedScheduler(current_app, lazy=True)


def test_beat_has_worked_when_it_has_published(
    scheduler: PulsedScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry: Any = scheduler.Entry(name="heartbeat", task="health.heartbeat", schedule=3.0, app=current_app)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no broker")

    monkeypatch.setattr("celery.app.task.Task.apply_async", refuse)
    scheduler.apply_entry(entry)
    assert not scheduler._has_published()
    monkeypatch.setattr("celery.app.task.Task.apply_async", lambda *_, **__: None)
    scheduler.apply_entry(entry)
    assert scheduler._has_published()
    assert not scheduler._has_published(), "it is said once"


def test_beat_lives_while_it_ticks(scheduler: PulsedScheduler) -> None:
    assert scheduler._is_ticking()
    scheduler._ticked_at -= 60
    assert not scheduler._is_ticking()
    scheduler.tick()
    assert scheduler._is_ticking()


def test_every_worker_and_beat_reports() -> None:
    from django.conf import settings

    from config.celery import app

    assert "videos.queue.celery_pulse:WorkerPulse" in app.steps["worker"]
    assert WorkerPulse.requires == ("celery.worker.components:Pool",)
    assert settings.CELERY_BEAT_SCHEDULER == "videos.queue.celery_pulse:PulsedScheduler"
    every = settings.CELERY_BEAT_SCHEDULE["heartbeat"]["schedule"]
    assert timedelta(seconds=3 * every) < STALE_AFTER


def test_a_clock_that_is_off_is_said_once_and_when_it_is_right_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test may have left the clock off.
    monkeypatch.setattr(heartbeats, "_off", {})
    role = Heartbeat.Role.WORKER
    caplog.set_level("INFO", logger="videos.queue.heartbeats")
    record(role, worked=True)
    assert caplog.text == ""
    for _ in range(3):
        with shifted(timedelta(seconds=-90)):
            record(role, worked=True)
    assert caplog.text.count("90 s ahead of the database's") == 1
    record(role, worked=True)
    assert caplog.text.count("agrees with the database's again") == 1
    with shifted(timedelta(seconds=90)):
        record(role, worked=True)
    assert "90 s behind the database's" in caplog.text
    record(role, worked=True)
