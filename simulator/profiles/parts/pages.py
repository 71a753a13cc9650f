"""Pages of a list that is kept in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from simulator.jobs import Job
from simulator.profiles.parts.fastapi import invalid

_MOST = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the jobs, in their order."""

    jobs: Sequence[Job]
    has_more: bool


Pager = Callable[[Mapping[str, str], Sequence[Job]], Page]


def whole(query: Mapping[str, str], jobs: Sequence[Job]) -> Page:
    """All jobs, oldest first, whatever is asked."""
    return Page(jobs, False)


def by_second(default: int | None, least: int) -> Pager:
    """Pages of up to 100 by the second of the creation. None: all, unless a limit is given.

    Of jobs made in the same second the older stands first in both orders. After an unknown id there is
    nothing.
    """

    def page(query: Mapping[str, str], jobs: Sequence[Job]) -> Page:
        limit = _limit(query, default, least)
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            text = "Input should be 'asc' or 'desc'"
            context = {"expected": "'asc' or 'desc'"}
            raise invalid("literal_error", ["query", "order"], text, order, context)
        found = sorted(jobs, key=lambda job: int(job.created_at), reverse=order == "desc")
        if (after := query.get("after")) is not None:
            place = next((number for number, job in enumerate(found) if job.id == after), len(found))
            found = found[place + 1 :]
        shown = found if limit is None else found[:limit]
        return Page(shown, len(found) > len(shown))

    return page


def _limit(query: Mapping[str, str], default: int | None, least: int) -> int | None:
    text = query.get("limit")
    if text is None:
        return default
    place = ["query", "limit"]
    if not text.removeprefix("-").isdecimal():
        said = "Input should be a valid integer, unable to parse string as an integer"
        raise invalid("int_parsing", place, said, text)
    number = int(text[:9])
    if number < least:
        said = f"Input should be greater than or equal to {least}"
        raise invalid("greater_than_equal", place, said, text, {"ge": least})
    if number > _MOST:
        said = f"Input should be less than or equal to {_MOST}"
        raise invalid("less_than_equal", place, said, text, {"le": _MOST})
    return number
