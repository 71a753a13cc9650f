"""The judge of a deployment's books notices what it is to notice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.faults.books import (
    Books,
    billed,
    is_mispriced,
    longest_pause,
    match,
    may_be_of_known,
    paid_twice,
)

PROMPTS = {"one": "a boat", "two": "a kite", "three": "a kite"}


def test_a_job_with_one_paid_create_or_a_paid_retry_is_in_order() -> None:
    assert paid_twice(PROMPTS, {"one": 1, "two": 2}, [], {"two": 1}) == []


def test_two_creates_that_a_jobs_submissions_own_are_paid_twice() -> None:
    assert paid_twice(PROMPTS, {"one": 2}, [], {}) == ["one: 2"]


def test_a_create_that_nobody_owns_counts_for_the_job_that_asked_for_it() -> None:
    assert paid_twice(PROMPTS, {"one": 1}, ["a boat"], {}) == ["one: 2"]
    assert paid_twice(PROMPTS, {"one": 1}, ["a boat"], {"one": 1}) == []
    assert paid_twice(PROMPTS, {}, ["a boat", "what nobody asked for"], {}) == []


def test_of_jobs_alike_one_is_paid_twice_only_where_there_are_more_creates_than_jobs() -> None:
    assert paid_twice(PROMPTS, {"two": 1}, ["a kite"], {}) == []
    assert paid_twice(PROMPTS, {"two": 1}, ["a kite", "a kite"], {}) == ["two: 2"]


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def sent(job: str, upstream_id: str | None, at: float, prompt: str = "a boat") -> tuple[Any, ...]:
    return job, 1, "completed", upstream_id, "settled", None, prompt, after(at), after(at + 6)


def paid(upstream_id: str, at: float, prompt: str = "a boat") -> dict[str, Any]:
    return {"id": upstream_id, "number": int(at), "created_at": after(at).timestamp(), "prompt": prompt}


def test_creates_under_one_id_are_told_apart_by_when_they_were_made() -> None:
    first, second = paid("video_1", 1), paid("video_1", 60)
    found, left = match([sent("one", "video_1", 0), sent("two", "video_1", 59)], [second, first])
    assert (found["one", 1], found["two", 1], left) == (first, second, [])


def test_a_create_is_no_submissions_twice() -> None:
    found, left = match([sent("one", "video_1", 0), sent("two", "video_1", 1)], [paid("video_1", 1)])
    assert (list(found.values()).count(None), left) == (1, [])


def test_a_create_of_another_prompt_or_time_is_not_a_submissions() -> None:
    for other in (paid("video_1", 1, "a kite"), paid("video_1", -20)):
        assert match([sent("one", "video_1", 0)], [other]) == ({("one", 1): None}, [other])


def test_a_recovered_submission_may_be_dated_by_a_clock_that_is_wrong() -> None:
    submissions, made = [sent("one", "video_1", 300)], paid("video_1", 1)
    assert match(submissions, [made])[1] == [made]
    assert match(submissions, [made], recovered={("one", 1)}) == ({("one", 1): made}, [])
    # Not where it might be another one's, nor for another prompt.
    again = paid("video_1", 100)
    assert match(submissions, [made, again], recovered={("one", 1)})[1] == [made, again]
    other = paid("video_1", 1, "a kite")
    assert match(submissions, [other], recovered={("one", 1)})[1] == [other]


def test_a_create_that_no_submission_has_is_left() -> None:
    assert match([sent("one", None, 0)], [paid("video_1", 1)]) == ({}, [paid("video_1", 1)])


def test_a_pause_counts_from_the_first_request_to_the_last() -> None:
    assert longest_pause([after(3), after(5)], (NOON, after(20))) == 15
    assert longest_pause([], (NOON, after(20))) == 20


def test_of_an_outage_only_what_is_before_and_after_it_counts() -> None:
    moves, asked = [after(2), after(18)], (NOON, after(20))
    assert longest_pause(moves, asked) == 16
    assert longest_pause(moves, asked, [(after(3), after(11))]) == 7
    assert longest_pause(moves, asked, [(after(1), after(19))]) == 1


def test_a_create_that_was_declared_foreign_may_be_of_a_job_that_was_there_by_then() -> None:
    """A job that was in the backup, was sent after it, and is sent again once it is restored."""
    jobs = [("a boat", after(5)), ("a boat", after(50)), ("a kite", NOON)]
    ours = paid("video_1", 6)
    assert may_be_of_known([ours, paid("video_2", 4), paid("video_3", 6, "a hill")], jobs) == [ours]
    assert paid_twice({"one": "a boat"}, {"one": 1}, ["a boat"], {}) == ["one: 2"]
    # If a job is forgotten that asked for the same, it is that one's.
    assert paid_twice({"one": "a boat", "gone": "a boat"}, {"one": 1}, ["a boat"], {}) == []


@pytest.mark.parametrize(
    ("state", "settled", "is_billed", "wrong"),
    [
        ("stored", "0.40", True, False),
        ("stored", "0", True, True),
        ("failed", "0", False, False),
        ("failed", "0.40", False, True),
        ("given_up", "0.40", False, False),
        ("lost", "0.40", False, False),
        ("lost", "0", True, True),
        ("dropped", "0.40", False, False),
        ("absent", "0", True, True),
    ],
)
def test_a_submission_settles_what_its_create_cost(
    state: str, settled: str, is_billed: bool, wrong: bool
) -> None:
    cost = billed(paid("video_1", 0) | {"price": "0.40", "billed": is_billed})
    assert is_mispriced(state, Decimal(settled), cost) == wrong


def test_a_person_finds_the_create_of_a_submission_without_an_id() -> None:
    lost, other = paid("video_1", 1), paid("video_1", 60)
    submissions = [sent("one", None, 0), sent("two", "video_1", 59)]
    found, left = match(submissions, [lost, other], {("one", 1): 1})
    assert (found, left) == ({("one", 1): lost, ("two", 1): other}, [])


def test_dollars_agree_but_for_what_was_settled_on_suspicion() -> None:
    books = Books(settled=Decimal("1.20"), billed=Decimal("0.80"), suspected=Decimal("0.40"))
    assert books.faults() == {}
    assert "money" in replace(books, suspected=Decimal(0)).faults()
