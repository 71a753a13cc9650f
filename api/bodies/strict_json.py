"""Strict JSON objects (RFC 8259, UTF-8). Refuses what cannot be stored, is ambiguous, or would not come back
as it was sent."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn

from rest_framework.exceptions import ErrorDetail, ParseError, ValidationError

MAX_DEPTH: Final = 32
# Characters of a name, as they are sent.
MAX_NAME: Final = 256
# Names and values of a whole text. The largest batch has a third of them.
MAX_TOKENS: Final = 100_000
# Characters of one number.
MAX_NUMBER: Final = 40
# Those of 64 bits, signed or not.
_WHOLE: Final = range(-(2**63), 2**64)
# Between these PostgreSQL's JSON gives a fraction back as it came; beyond, as an integer or a row of zeros.
_MIN_FRACTION, _MAX_FRACTION = 1e-20, 1e16

# A string, with its colon if it is a name; a number; a bracket. A string that does not end is one as well: it
# must not be looked through again from each of its quotes.
_TOKEN: Final = re.compile(
    r'("[^"\\]*+(?:\\.[^"\\]*+)*+"?)(\s*+:)?|-?\d[\d.eE+-]*+|([\[{])|([\]}])', re.DOTALL
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SHOWN: Final = 100
_ABSURD_LENGTH: Final = 1_000


class BadNumber(ValidationError):
    """400: a number that would not come back as it was sent. `reason` is the message without the field."""

    def __init__(self, field: str, reason: str) -> None:
        self.reason = f"{reason}; send it as a string."
        super().__init__({field: [ErrorDetail(self.reason, code="invalid")]})


def read_object(raw: bytes, what: str) -> dict[str, Any]:
    """Parses `raw` as an object. Raises ParseError, which names it as `what`, such as "The body"; and
    BadNumber."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ParseError(f"{what} is not UTF-8.") from None
    _refuse_excess(text, what)
    try:
        payload = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_read_whole,
            parse_float=_read_fraction,
            object_pairs_hook=_refuse_doubled_names,
        )
    except ValueError as error:
        raise ParseError(f"{what} is not JSON: {error}.") from None
    _refuse_unstorable(payload, what)
    if not isinstance(payload, dict):
        raise ParseError(f"{what} must be a JSON object.")
    return payload


def _refuse_excess(text: str, what: str) -> None:
    """Before anything is built: depth, names, and how many there are."""
    depth = 0
    for number, token in enumerate(_TOKEN.finditer(text), 1):
        if number > MAX_TOKENS:
            raise ParseError(f"{what} has over {MAX_TOKENS} names and values, which is the most.")
        _, colon, opening, closing = token.groups()
        if colon and token.end(1) - token.start(1) - 2 > MAX_NAME:
            name = text[token.start(1) + 1 : token.start(1) + 1 + _SHOWN]
            raise ParseError(f"{what} has a name of over {MAX_NAME} characters, which begins with {name!r}.")
        if opening:
            depth += 1
            if depth > MAX_DEPTH:
                raise ParseError(f"{what} is nested too deeply: over {MAX_DEPTH} levels.")
        elif closing:
            depth -= 1


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


@dataclass(frozen=True, slots=True)
class _Lost:
    """Marks a number that would not come back as it was sent."""

    text: str
    reason: str
    # No JSON reader returns such a number.
    is_absurd: bool = False


def _read_whole(text: str) -> int | _Lost:
    if len(text) > MAX_NUMBER or int(text) not in _WHOLE:
        return _Lost(text, "has more than 64 bits", is_absurd=len(text) > _ABSURD_LENGTH)
    return int(text)


def _read_fraction(text: str) -> float | _Lost:
    if len(text) > MAX_NUMBER:
        return _Lost(text, f"has over {MAX_NUMBER} characters", is_absurd=len(text) > _ABSURD_LENGTH)
    value = float(text)
    if value and not _MIN_FRACTION <= abs(value) < _MAX_FRACTION:
        between = f"from {_MIN_FRACTION:g} to {_MAX_FRACTION:g}, or 0"
        reason = f"is out of range: a number with a fraction or an exponent is {between}"
        return _Lost(text, reason, is_absurd=not math.isfinite(value))
    # Looked at first: its exponent may be too large for a Decimal.
    if not value and text.lower().partition("e")[0].strip("-0."):
        return _Lost(text, "is out of range: it would become 0")
    if value and Decimal(text) != Decimal(repr(value)):
        return _Lost(text, f"has more digits than are kept, which are {value!r}")
    return value


def _refuse_doubled_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ParseError(f"{name[:_SHOWN]!r} is there more than once; which one is meant?")
            seen.add(name)
    return found


def _refuse_unstorable(payload: object, what: str) -> None:
    """Raises for what PostgreSQL cannot keep, or not as it is: NUL, lone surrogates, some numbers."""
    for value, path in _walked(payload, ()):
        if isinstance(value, str):
            if "\x00" in value:
                raise ParseError(f"{_at(what, path)} contains a NUL character (\\u0000); remove it.")
            if _SURROGATE.search(value):
                where = _at(what, path)
                raise ParseError(
                    f"{where} contains a lone surrogate (\\ud800 to \\udfff); send whole characters."
                )
        elif isinstance(value, _Lost):
            if value.is_absurd:
                raise ParseError(f"{_at(what, path)} is a number that is out of range.")
            raise BadNumber(_at("", path).lstrip("."), f"{value.text[:MAX_NUMBER]} {value.reason}")


_Path = tuple[str | int | None, ...]


def _walked(value: object, path: _Path) -> Iterator[tuple[object, _Path]]:
    """Each string and number with the way to it; None stands for a name itself."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key, (*path, None)
            yield from _walked(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _walked(inner, (*path, number))
    else:
        yield value, path


def _at(what: str, path: _Path) -> str:
    """The path in words, cut if it is long. Only an error needs it."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path if step is not None)
    shown = what + "".join(steps)
    # A lone surrogate of a name cannot be sent back.
    shown = _SURROGATE.sub("\ufffd", shown if len(shown) <= 2 * _SHOWN else f"{shown[: 2 * _SHOWN]}…")
    return f"A key in {shown}" if path and path[-1] is None else shown
