import re
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connection
from pytest_django import Settings

from tests.configured import configure
from tests.timeouts import TIMEOUT
from tests.videos.rows import submission_in
from tests.videos.scripted import ScriptedClient
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos import tasks
from videos.lifecycle.cancel import cancel
from videos.management.commands import work as command
from videos.models import Job, Submission
from videos.queue.dispatch import Work, _open, all_due_work
from videos.states import LIVE, JobStatus, SubmissionState

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _tasks_use_the_scripted_upstream(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, upstream)
    # Its thread would write past the test's transaction, and so into the tests after it.
    monkeypatch.setattr(command.Pulse, "start", lambda self: None)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("videos.tasks.publish", lambda task, **kwargs: found.append((task, kwargs)))
    return found


def test_the_tasks_carry_a_job_from_the_dispatch_to_its_file(
    job: Job, sora: ScriptedClient, upstream: Upstream, published: list[tuple[str, dict[str, Any]]]
) -> None:
    for _ in range(4):
        tasks.dispatch()
        for task, kwargs in published:
            getattr(tasks, task)(**kwargs)
        published.clear()
        for video_id in sora.videos:
            sora.complete(video_id)
        Submission.objects.filter(state="rendering").update(due_at="2026-01-01T00:00:00Z")
    job.refresh_from_db()
    assert job.status == "completed"
    assert len(sora.creates) == 1


@pytest.mark.parametrize("due", [True, False])
@pytest.mark.parametrize("state", SubmissionState)
def test_a_dispatch_looks_for_work_if_an_attempt_is_open(
    job: Job, upstream: Upstream, state: SubmissionState, due: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel(job)
    submission_in(job, state, due_at=database_now() if due else None)
    asked: list[Upstream] = []
    monkeypatch.setattr("videos.queue.dispatch.due_work", lambda each: asked.append(each) or [])

    all_due_work()

    assert bool(asked) == (due or state in LIVE)


def test_what_may_be_open_is_found_by_indexes_of_its_own(job: Job, upstream: Upstream) -> None:
    compiled = _open._compiled({})
    # Besides these, Django's own ones of EXISTS.
    assert not {str(each) for each in compiled.parameters} & {JobStatus.PENDING, *LIVE}
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Of a few rows it would read the table, although it could use the index.
            cursor.execute("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {compiled.sql}", compiled.parameters)
        plan = "\n".join(str(row) for row in cursor.fetchall())
    # There are two indexes of live ones.
    for index in ("job_status", "submission_(one_)?live", "submission_due"):
        assert re.search(index, plan), plan


def test_a_dispatch_with_nothing_to_do_makes_few_statements(
    job: Job, upstream: Upstream, django_assert_max_num_queries: Any
) -> None:
    cancel(job)
    all_due_work()

    # The record that we work, what is open, the upstream's row; and the time, for the first and last.
    with django_assert_max_num_queries(5):
        assert all_due_work() == []


def test_a_paused_upstream_is_probed_and_an_audit_made_without_any_job(upstream: Upstream) -> None:
    provider = upstream.provider()
    assert all_due_work() == []

    Provider.objects.filter(pk=provider.pk).update(
        paused_at=database_now(), audit_due_at=database_now(), worked_at=database_now()
    )
    assert [work.task for work in all_due_work()] == ["probe", "audit"]

    Provider.objects.filter(pk=provider.pk).update(unrecognized_at=database_now())
    assert [work.task for work in all_due_work()] == ["probe"]


def test_a_doubled_or_lost_message_changes_nothing(job: Job, sora: ScriptedClient) -> None:
    tasks.submit()
    tasks.submit()
    for _ in range(2):
        tasks.attend(provider="upstream", kind="files")
    tasks.attend(provider="one that is not configured any more", kind="files")
    assert len(sora.creates) == 1


def test_a_task_takes_arguments_that_it_does_not_know_yet(job: Job) -> None:
    tasks.dispatch(from_a_newer_release=True)
    tasks.submit(from_a_newer_release=True)
    tasks.sweep(from_a_newer_release=True)
    tasks.probe(from_a_newer_release=True)
    tasks.attend(provider="", kind="calls", from_a_newer_release=True)


def test_every_kind_of_work_has_a_task_of_its_name(job: Job, upstream: Upstream) -> None:
    from config.celery import app

    for name in ("dispatch", "submit", "sweep", "attend", "probe", "audit"):
        assert f"videos.{name}" in app.tasks
    assert [work.task for work in all_due_work()] == ["submit"] * 4


def test_one_failing_task_does_not_end_the_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(**_: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(command, "connections", type("None", (), {"close_all": staticmethod(lambda: None)}))
    running: set[Work | str] = {Work("sweep")}
    command._do(Work("sweep"), fails, running)
    assert running == set()
    assert "a bug" in caplog.text


def test_the_work_outlasts_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    settings.CELERY_BEAT_SCHEDULE = {}
    attempts = 0
    stopping: list[Any] = []

    def away() -> list[Work]:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            stopping[1](None, None)
        raise DatabaseError("away")

    monkeypatch.setattr(command, "all_due_work", away)
    monkeypatch.setattr(command.signal, "signal", lambda number, stop: stopping.append(stop))
    monkeypatch.setattr(command, "connections", type("None", (), {"close_all": staticmethod(lambda: None)}))
    running = threading.Thread(
        target=lambda: command.Command().handle(every=0.01, threads=1), name="work under test"
    )
    running.start()
    running.join(TIMEOUT)
    assert not running.is_alive()
    assert attempts == 2
    assert "away" in caplog.text


def test_the_work_does_what_beat_would_publish(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    now = [1000.0]
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: now[0]))
    periodic = command._Periodic()
    others = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} - {"videos.dispatch"}
    due = periodic.due()
    monitoring = {"health.heartbeat", "health.measure", "upstreams.calls.contact"}
    seldom = {
        "accounts.forget",
        "videos.count_usage",
        "videos.sweep_references",
        "videos.sweep_results",
    }
    seldom |= {"batches.archive", "videos.archive"}
    assert (
        set(due)
        == others
        == {"accounts.count", "batches.sweep", "videos.make_previews", *seldom, *monitoring}
    )
    due["batches.sweep"]()
    assert periodic.due() == {}
    now[0] += settings.CELERY_BEAT_SCHEDULE["batches"]["schedule"]
    assert set(periodic.due()) == others - seldom


def test_a_message_survives_clocks_that_are_minutes_apart(settings: Settings) -> None:
    schedule = settings.CELERY_BEAT_SCHEDULE.values()
    assert {entry["options"]["expires"] for entry in schedule} == {settings.MESSAGE_SECONDS}
    assert settings.MESSAGE_SECONDS >= 600


def test_of_dispatches_that_have_piled_up_one_is_carried_out(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    done: list[int] = []
    monkeypatch.setattr(tasks.dispatching, "all_due_work", lambda: done.append(1) or [])
    now = [1000.0]
    monkeypatch.setattr(tasks, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(tasks, "_spacing", tasks._Spacing())

    def arrive() -> None:
        tasks.dispatch.apply()

    for _ in range(5):
        arrive()
    assert len(done) == 1
    now[0] += settings.DISPATCH_SECONDS
    arrive()
    assert len(done) == 2
    # Who calls it, wants it done.
    tasks.dispatch()
    assert len(done) == 3
