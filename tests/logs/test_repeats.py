"""What keeps failing is one line a minute."""

import logging
import sys

import pytest
from structlog.contextvars import bound_contextvars

from api.logs.events import EACH, LogEvent
from config import log_repeats
from config.log_repeats import EVERY_SECONDS, LEFT_OUT, RepeatsFilter
from tests.log_lines import Lines


class Clock:
    """Stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def repeats(clock: Clock) -> RepeatsFilter:
    return RepeatsFilter(clock)


def record(
    text: object, *args: object, level: int = logging.WARNING, name: str = "x", error: Exception | None = None
) -> logging.LogRecord:
    info = None
    if error is not None:
        try:
            raise error
        except Exception:
            info = sys.exc_info()
    return logging.LogRecord(name, level, __file__, 1, text, args, info)


def test_the_first_is_written_at_once_and_the_next_after_a_minute_with_the_count(
    repeats: RepeatsFilter, clock: Clock
) -> None:
    first = record("away: %s", "one")
    assert repeats.filter(first)
    assert first.left_out == 0  # type: ignore[attr-defined]
    for number in range(120):
        clock.now += 0.1
        assert not repeats.filter(record("away: %s", number))
    clock.now = 100 + EVERY_SECONDS
    later = record("away: %s", "later")
    assert repeats.filter(later)
    assert later.left_out == 120  # type: ignore[attr-defined]
    assert not repeats.filter(record("away: %s", "again"))


@pytest.mark.parametrize(
    "other",
    [
        record("back: %s", 1),
        record("away: %s", 1, name="y"),
        record("away: %s", 1, level=logging.ERROR),
        record("away: %s", 1, error=ValueError()),
    ],
)
def test_another_one_is_not_left_out(repeats: RepeatsFilter, other: logging.LogRecord) -> None:
    assert repeats.filter(record("away: %s", 1))
    assert repeats.filter(other)


def test_exceptions_of_two_types_are_two(repeats: RepeatsFilter) -> None:
    assert repeats.filter(record("failed", error=ValueError("one")))
    assert not repeats.filter(record("failed", error=ValueError("two")))
    assert repeats.filter(record("failed", error=KeyError("one")))


@pytest.mark.parametrize("field", ["job_id", "batch_id", "request_id"])
def test_an_error_is_written_for_each_job_batch_and_request(repeats: RepeatsFilter, field: str) -> None:
    for given in ("a", "b"):
        with bound_contextvars(**{field: given}):
            assert repeats.filter(record("paid twice", level=logging.ERROR))
            assert not repeats.filter(record("paid twice", level=logging.ERROR))


def test_a_warning_that_all_jobs_give_is_written_once(repeats: RepeatsFilter) -> None:
    with bound_contextvars(job_id="a"):
        assert repeats.filter(record("no answer"))
    with bound_contextvars(job_id="b"):
        assert not repeats.filter(record("no answer"))


@pytest.mark.parametrize("event", LogEvent)
def test_a_change_or_an_answer_is_never_left_out(repeats: RepeatsFilter, event: LogEvent) -> None:
    for _ in range(3):
        assert repeats.filter(record({"event": event}))


def test_nor_is_what_is_marked_as_another_thing_each_time(repeats: RepeatsFilter) -> None:
    for number in range(3):
        found = record("%s", f"finding {number}", level=logging.ERROR)
        found.__dict__.update(EACH)
        assert repeats.filter(found)


def test_nor_is_what_is_no_warning(repeats: RepeatsFilter) -> None:
    for _ in range(3):
        assert repeats.filter(record("well", level=logging.INFO))


def test_what_it_remembers_is_bounded(repeats: RepeatsFilter) -> None:
    for number in range(log_repeats._MAX_KEPT + 50):
        assert repeats.filter(record(f"unlike {number}"))
    assert len(repeats._said) == log_repeats._MAX_KEPT
    assert repeats.filter(record("unlike 0")), "the oldest was forgotten"
    assert not repeats.filter(record(f"unlike {log_repeats._MAX_KEPT + 49}"))


def test_the_line_says_how_many_were_left_out(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        logging.getLogger("x").warning("away: %s", number)
    monkeypatch.setattr(log_repeats, "EVERY_SECONDS", -1.0)
    logging.getLogger("x").warning("away: %s", "still")
    first, second = lines()
    assert (first["event"], LEFT_OUT in first) == ("away: 0", False)
    assert (second["event"], second["left_out"]) == ("away: still", 3)
