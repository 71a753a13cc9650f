"""What the rows of the work mean: each cause has one name."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from health.readiness.work import FINE, IDLE_AFTER, Work
from upstreams.models import Provider
from videos.models import Heartbeat
from videos.queue.heartbeats import STALE_AFTER

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def row(role: str, *, alive: float = 1, worked: float | None = 1, since: float = 3600) -> Heartbeat:
    """A heartbeat, by how many seconds ago."""
    return Heartbeat(
        role=role,
        alive_at=ago(alive),
        worked_at=None if worked is None else ago(worked),
        working_since=None if worked is None else ago(since),
    )


def work(*rows: Heartbeat, **provider: Any) -> Work:
    kept = Provider(
        **{"name": "simulator", "created_at": NOW, "worked_at": NOW, "answered_at": ago(1), **provider}
    )
    return Work(NOW, {each.role: each for each in rows}, [kept])


def named(found: Work, *, broker_well_for: float = 3600) -> dict[str, str]:
    """What is wrong, by name."""
    findings = {
        "worker": found.worker(broker_is_fine=broker_well_for > 0),
        "beat": found.beat(broker_well_for=broker_well_for),
        "soraClient": found.sora_clients()["simulator"],
    }
    return {name: finding.problem for name, finding in findings.items() if finding != FINE}


def test_nothing_is_wrong_when_all_report() -> None:
    assert named(work(row("worker"), row("beat"))) == {}


def test_a_dead_worker_is_named_alone() -> None:
    gone = row("worker", alive=11, worked=12)
    assert named(work(gone, row("beat"), answered_at=ago(20))) == {"worker": "no worker runs"}
    assert work(gone).worker(broker_is_fine=True).since == ago(11)


def test_a_worker_that_has_just_reported_is_not_missed() -> None:
    seconds = STALE_AFTER.total_seconds()
    assert named(work(row("worker", alive=seconds, worked=seconds), row("beat"))) == {}


def test_before_anybody_has_reported_that_is_said() -> None:
    assert named(work()) == {"worker": "no worker has ever reported", "beat": "beat has never reported"}


def test_a_dead_beat_is_named_and_not_the_worker_that_gets_no_tasks() -> None:
    dead = row("beat", alive=40, worked=40)
    assert named(work(row("worker", worked=39), dead, answered_at=ago(39))) == {"beat": "beat does not run"}


@pytest.mark.parametrize("seconds", [11, 15, 19])
def test_while_a_dead_beat_is_not_yet_missed_its_worker_is_not_either(seconds: float) -> None:
    assert "worker" not in named(work(row("worker", worked=seconds), row("beat", alive=9, worked=9)))


def test_a_broker_that_is_away_is_no_fault_of_worker_or_beat() -> None:
    silent = work(row("worker", worked=300), row("beat", worked=300), answered_at=ago(300))
    assert named(silent, broker_well_for=0) == {}
    assert named(silent, broker_well_for=5) == {}, "it has only just come back"


def test_a_worker_that_runs_and_does_nothing_is_named() -> None:
    hung = work(row("worker", worked=21), row("beat"), answered_at=ago(21))
    assert named(hung) == {"worker": "a worker runs and does no task"}
    assert hung.worker(broker_is_fine=True).since == ago(21)


def test_a_worker_that_never_did_a_task_is_named_once_tasks_have_come_for_long_enough() -> None:
    new = row("worker", worked=None)
    assert named(work(new, row("beat", since=10)), broker_well_for=60) == {}
    assert "worker" in named(work(new, row("beat", since=IDLE_AFTER.total_seconds() + 1)))


def test_a_beat_that_turns_and_publishes_nothing_is_named() -> None:
    assert named(work(row("worker"), row("beat", worked=21))) == {"beat": "beat publishes nothing"}
    assert named(work(row("worker"), row("beat", worked=None))) == {"beat": "beat publishes nothing"}


def test_the_work_command_needs_no_beat_and_counts_as_a_worker() -> None:
    assert named(work(row("work"))) == {}
    assert (
        named(work(row("work"), row("beat", alive=99, worked=99), row("worker", alive=99, worked=99))) == {}
    )
    assert named(work(row("work", worked=21), answered_at=ago(21))) == {
        "worker": "a worker runs and does no task"
    }


def test_a_silent_upstream_is_named(settings: Settings) -> None:
    settings.SORA_CONTACT_SECONDS = 5
    rows = row("worker"), row("beat")
    assert named(work(*rows, answered_at=ago(10))) == {}
    silent = work(*rows, answered_at=ago(11))
    assert named(work(row("work"), answered_at=ago(11))) == named(silent)
    assert named(silent) == {"soraClient": "the upstream gives no usable answer"}
    assert silent.sora_clients()["simulator"].since == ago(11)
    assert named(work(*rows, answered_at=None)) == {"soraClient": "the upstream gives no usable answer"}
    settings.SORA_CONTACT_SECONDS = 60
    assert named(silent) == {}


@pytest.mark.parametrize("gone", ["worker", "beat"])
@pytest.mark.parametrize("seconds", [3, 6, 9.9, 60])
def test_silence_does_not_count_from_when_nobody_asked(gone: str, seconds: float) -> None:
    rows = [
        row(each, alive=seconds, worked=seconds) if each == gone else row(each) for each in ("worker", "beat")
    ]
    assert "soraClient" not in named(work(*rows, answered_at=ago(seconds + 8)))


def test_silence_before_the_workers_began_again_does_not_count() -> None:
    assert named(work(row("worker", since=9), row("beat"), answered_at=ago(3600))) == {}


def test_an_upstream_that_wants_to_be_left_alone_is_not_missed() -> None:
    rows = row("worker"), row("beat")
    assert named(work(*rows, answered_at=ago(300), list_backoff_until=NOW + timedelta(seconds=9))) == {}
    assert named(work(*rows, answered_at=ago(300), list_backoff_until=ago(9))) == {}
    assert "soraClient" in named(work(*rows, answered_at=ago(300), list_backoff_until=ago(11)))


@pytest.mark.parametrize(
    ("held", "problem"),
    [
        ({"stopped_at": ago(5), "stop_reason": "secret plan"}, "stopped by an operator"),
        (
            {"unrecognized_at": ago(5), "unrecognized_reason": "it does not know video_1"},
            "it does not know our videos, and may be another account or server",
        ),
        (
            {"paused_at": ago(5), "pause_reason": "GET 10.0.0.7: 401 sk-secret"},
            "paused, because the upstream refuses our key or address",
        ),
        (
            {"failures": 5, "sending_backoff_reason": "sk-secret"},
            "5 creates in a row have failed, and one is tried at a time",
        ),
    ],
)
def test_what_blocks_creates_is_said_without_the_upstreams_own_words(
    settings: Settings, held: dict[str, Any], problem: str
) -> None:
    settings.SORA_BREAKER_FAILURES = 5
    assert named(work(row("worker"), row("beat"), **held)) == {"soraClient": problem}


def test_fewer_failures_than_the_breakers_are_nothing(settings: Settings) -> None:
    settings.SORA_BREAKER_FAILURES = 5
    assert named(work(row("worker"), row("beat"), failures=4)) == {}
