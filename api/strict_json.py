"""JSON objects as RFC 8259 has them, in UTF-8, without what could not be stored or is ambiguous."""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from rest_framework.exceptions import ParseError


def read_object(raw: bytes, what: str) -> dict[str, Any]:
    """The object that `raw` is. Raises ParseError, which calls it `what`: "The body"."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ParseError(f"{what} is not UTF-8.") from None
    try:
        payload = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_doubled_names)
        _refuse_unstorable(payload, what)
    except RecursionError:
        raise ParseError(f"{what} is nested too deeply.") from None
    except ValueError as error:
        raise ParseError(f"{what} is not JSON: {error}.") from None
    if not isinstance(payload, dict):
        raise ParseError(f"{what} must be a JSON object.")
    return payload


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _refuse_doubled_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise ParseError(f"{doubled[:100]!r} is there more than once; which one is meant?")
    return found


def _refuse_unstorable(value: object, at: str) -> None:
    """Raises for what PostgreSQL cannot keep or JSON cannot say again: NUL, lone surrogates, infinity."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ParseError(f"{at} contains a NUL character (\\u0000); remove it.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ParseError(f"{at} contains a lone surrogate (\\ud800 to \\udfff); send whole characters.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ParseError(f"{at} is a number that is out of range.")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_unstorable(key, f"A key in {at}")
            _refuse_unstorable(inner, f"{at}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _refuse_unstorable(inner, f"{at}[{number}]")
