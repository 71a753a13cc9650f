"""The judge of a deployment's books notices what it is to notice."""

from tests.faults.books import paid_twice

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
