"""What `make test` and `make quick` run, and when they stop."""

import signal
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests import run, runtime, services
from tests.run import Outcome


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pytest is started with, each time. Nothing else is started."""
    found: list[list[str]] = []

    def started(command: list[str], environment: dict[str, str]) -> int:
        found.append(command)
        return 0

    for name in ("DATABASE_URL", "REDIS_URL", "TAKEONE_COVERAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAKEONE_TEST_SERVICES", "none")
    monkeypatch.setattr(run, "_pytest", started)
    monkeypatch.setattr(run, "_static", lambda bare, scratch: [Outcome("mypy", True, 1.0)])
    return found


@pytest.mark.parametrize("arguments", [[], ["--quick"], ["-k", "lease"]])
def test_no_test_runs_after_a_static_check_that_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    commands: list[list[str]],
    arguments: list[str],
) -> None:
    outcomes = [Outcome("mypy", True, 1.0), Outcome("ruff check", False, 1.0)]
    monkeypatch.setattr(run, "_static", lambda bare, scratch: outcomes)
    assert run.main(arguments) == 1
    assert commands == []
    assert "1 of 2 failed: ruff check" in capsys.readouterr().out


def test_all_tests_run_in_three_parts(commands: list[list[str]]) -> None:
    assert run.main([]) == 0
    options = [dict(pairwise(command)) for command in commands]
    chosen = [(each["-m"], each["-n"]) for each in options]
    marked = "and not nightly"
    assert chosen == [
        (f"not e2e {marked}", "2"),
        (f"e2e and not alone {marked}", "2"),
        (f"e2e and alone {marked}", "0"),
    ]
    assert not any("--ignore" in word for command in commands for word in command)


def test_quick_tests_end_at_the_first_failure_and_start_no_process(commands: list[list[str]]) -> None:
    assert run.main(["--quick", "-k", "lease"]) == 0
    ((*_, last, word), *others) = commands
    assert (last, word, others) == ("-k", "lease", [])
    (quick,) = commands
    assert {"-x", "--ignore=tests/simulator", "--ignore=tests/faults", "not e2e and not nightly"} <= set(
        quick
    )
    assert "--quick" not in quick


def test_a_runtime_lock_that_cannot_be_installed_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], commands: list[list[str]]
) -> None:
    def refused() -> str:
        raise runtime.NotInstalled("no such version")

    monkeypatch.setattr(runtime, "interpreter", refused)
    assert run.main([]) == 1
    assert commands == []
    assert "no such version" in capsys.readouterr().out


def test_each_slow_test_that_quick_leaves_out_is_there() -> None:
    slow = [word.partition("=")[2] for word in run.quick_options() if word.startswith("--deselect=")]
    assert slow
    for each in slow:
        path, *_, name = each.split("::")
        assert f"def {name}(" in (services.ROOT / path).read_text(), f"tests/slow.txt: there is no {each}"
