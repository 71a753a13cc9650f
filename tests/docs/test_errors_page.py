"""docs/errors.md has every error code that the code has, and no other."""

import re

import pytest
from django.conf import settings

from tests.docs import error_codes


def rows(heading: str, page: str = "errors.md") -> list[list[str]]:
    """The cells of the tables below a heading, up to the next heading."""
    text = (settings.BASE_DIR / "docs" / page).read_text()
    (section,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [each for each in cells if not set(each[0]) <= set("-")][1:]


def codes(heading: str, column: int = 0, page: str = "errors.md") -> list[str]:
    """The codes in one column of such a table; several may stand in one cell."""
    return [code for row in rows(heading, page) for code in re.findall(r"`(\w+)`", row[column])]


def test_each_answer_has_its_row_with_its_statuses() -> None:
    shown = {row[0].strip("`"): {int(status) for status in row[1].split(", ")} for row in rows("Answers")}
    assert len(shown) == len(rows("Answers"))
    assert shown == error_codes.answer_codes()


def test_each_problem_of_a_field_has_its_row() -> None:
    shown = codes("Problems of a field")
    assert len(shown) == len(set(shown))
    assert set(shown) == error_codes.item_codes()


def test_each_failure_of_a_job_has_its_row() -> None:
    shown = codes("Failures of a job")
    assert len(shown) == len(set(shown))
    assert set(shown) == error_codes.job_codes()


def test_each_refusal_of_a_key_has_its_row() -> None:
    shown = codes("What a refused key says", page="keys-and-people.md")
    assert set(shown) == error_codes.key_refusals()


@pytest.mark.parametrize("heading", ["Answers", "Problems of a field", "Failures of a job"])
def test_each_row_says_what_it_means_and_what_to_do(heading: str) -> None:
    for row in rows(heading):
        assert all(len(cell.split()) >= 3 for cell in row[-2:]), row


def test_the_collector_finds_codes_of_each_kind() -> None:
    """A page without rows would satisfy a collector that finds nothing."""
    answers = error_codes.answer_codes()
    assert answers["insufficient_scope"] == {403}
    assert answers["payload_too_large"] == {413}
    assert answers["unauthorized"] == {401}
    assert answers["internal_error"] == {500}
    assert answers["headers_too_large"] == {431}
    assert {"not_offered", "unknown_field", "not_unique", "too_many", "not_utf8", "unprintable"} <= (
        error_codes.item_codes()
    )
    assert {"SORA_SUBMISSION_FAILED", "gave_up", "upstream_lost", "result_lost"} <= error_codes.job_codes()
    assert {"malformed", "scheme"} <= error_codes.key_refusals()
