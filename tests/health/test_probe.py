import threading
import time
from typing import Any

import pytest

from api.logs.events import LogEvent
from health.readiness import probe as probes
from health.readiness.probe import CheckFailed, Probe
from tests.e2e.processes import eventually
from tests.log_lines import Lines
from tests.timeouts import TIMEOUT


class Hanging:
    """A check that waits until it is released, and counts how often it was begun."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.begun = 0

    def __call__(self) -> str:
        self.begun += 1
        assert self.released.wait(TIMEOUT)
        return "it went on"


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(probes, "LIMIT_SECONDS", 0.1)
    check = Hanging()
    yield check
    check.released.set()


def ask(probe: Probe[Any]) -> probes.Outcome[Any]:
    probe.begin()
    return probe.outcome()


def forget(probe: Probe[Any]) -> None:
    """As if the last answer were older than it is kept."""
    probe._answered_at = None


def test_a_check_that_hangs_is_said_to_within_its_limit(hanging: Hanging) -> None:
    begun = time.monotonic()
    outcome = ask(Probe("storage", hanging))
    assert time.monotonic() - begun < 1
    assert outcome.problem == "it does not answer within 0.1 s"
    assert outcome.since is not None


def test_a_check_that_hangs_is_not_begun_again_until_it_ends(hanging: Hanging) -> None:
    probe = Probe("hung", hanging)
    outcomes = [ask(probe) for _ in range(5)]
    assert hanging.begun == 1
    assert [thread.name for thread in threading.enumerate()].count("check-hung") == 1
    assert len({outcome.since for outcome in outcomes}) == 1, "it hangs since the first time"
    hanging.released.set()
    assert eventually(lambda: ask(probe).value, "the check's end", within=5) == "it went on"
    assert ask(probe).problem == ""


def test_a_second_caller_of_a_check_that_hangs_does_not_wait(hanging: Hanging) -> None:
    probe = Probe("storage", hanging)
    ask(probe)
    begun = time.monotonic()
    assert ask(probe).problem
    assert time.monotonic() - begun < 0.09


def test_what_a_check_finds_wrong_is_said_with_its_beginning_until_it_is_well() -> None:
    problem = "no room"

    def check() -> None:
        if problem:
            raise CheckFailed(problem)

    probe = Probe("storage", check)
    first = ask(probe)
    forget(probe)
    again = ask(probe)
    assert first.problem == again.problem == "no room"
    assert first.since == again.since is not None
    assert first.well_for == 0
    problem = ""
    forget(probe)
    well = ask(probe)
    assert (well.problem, well.since) == ("", None)
    assert 0 <= well.well_for < 5


def test_a_change_of_a_check_is_one_line_however_often_it_is_asked(lines: Lines) -> None:
    problems: list[str] = []

    def check() -> None:
        if problems:
            raise CheckFailed(problems[0])

    # Names of their own: a check of an earlier test may end only now.
    probes = [Probe("one", check), Probe("other", check)]
    for problems[:] in (["no room"], ["no room"], [], []):
        for probe in probes:
            forget(probe)
            ask(probe)
    said = [
        (line["check"], line["level"], line["to_state"], line.get("reason"))
        for line in lines(LogEvent.CHECK)
        if line["check"] in {"one", "other"}
    ]
    assert said == [
        ("one", "warning", "unhealthy", "no room"),
        ("other", "warning", "unhealthy", "no room"),
        ("one", "info", "healthy", None),
        ("other", "info", "healthy", None),
    ]


def test_an_answer_is_kept_for_a_moment() -> None:
    calls: list[int] = []
    probe = Probe("memory", lambda: calls.append(1))
    for _ in range(5):
        ask(probe)
    assert len(calls) == 1
    forget(probe)
    ask(probe)
    assert len(calls) == 2


def test_the_text_of_an_unexpected_error_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def check() -> None:
        raise RuntimeError("redis://:secret@10.0.0.7")

    outcome = ask(Probe("broker", check))
    assert outcome.problem == "the check itself failed"
    assert "secret" in caplog.text


def test_a_check_that_a_fork_left_behind_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    probe: Probe[str] = Probe("memory", lambda: "done")
    dead = threading.Thread(target=lambda: None)
    dead.start()
    dead.join()
    probe._running = dead
    assert ask(probe).value == "done"


def test_all_checks_together_take_no_longer_than_one(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    from health import checks
    from health.readiness.checker import Checker

    monkeypatch.setattr(probes, "LIMIT_SECONDS", 0.4)
    for name in ("repository", "broker", "storage", "memory"):
        monkeypatch.setattr(checks, name, hanging)
    monkeypatch.setattr(checks, "uses_broker", lambda: True)
    begun = time.monotonic()
    readiness = Checker().readiness()
    assert time.monotonic() - begun < 0.8
    assert not readiness.ready
    assert set(readiness.checks) == {"repository", "broker", "storage", "memory"}
    assert all("does not answer within" in said for said in readiness.checks.values())
