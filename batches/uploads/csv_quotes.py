"""Blanks between a quote and a comma of CSV, which people put there and RFC 4180 does not know."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

_BLANKS_BEFORE: Final = re.compile(r'[ \t]+(?=")')
_BLANKS_AFTER: Final = re.compile(r"[ \t]+(?=,|\r?\n?$)")
# The rest of a quoted cell with its closing quote; a quote within it is doubled.
_REST: Final = re.compile(r'[^"]*(?:""[^"]*)*"(?!")')


def without_blanks_at_quotes(lines: Iterable[str]) -> Iterator[str]:
    """The lines without the blanks before an opening and after a closing quote. A quoted cell may have
    several lines."""
    inside = False
    for line in lines:
        if inside or '"' in line:
            line, inside = _tidied(line, inside)
        yield line


def _tidied(line: str, inside: bool) -> tuple[str, bool]:
    """The line, and whether a quoted cell goes on after it; `inside`: whether one goes on at its start."""
    parts: list[str] = []
    at = 0
    while at < len(line):
        if not inside:
            # At the beginning of a cell.
            if blanks := _BLANKS_BEFORE.match(line, at):
                at = blanks.end()
            if line[at] == '"':
                parts.append('"')
                at += 1
                inside = True
        if inside:
            rest = _REST.match(line, at)
            if rest is None:
                return "".join([*parts, line[at:]]), True
            parts.append(rest[0])
            at, inside = rest.end(), False
            if blanks := _BLANKS_AFTER.match(line, at):
                at = blanks.end()
        # What is left of the cell, which is nothing after a quoted one that is well-formed.
        comma = line.find(",", at)
        end = len(line) if comma < 0 else comma + 1
        parts.append(line[at:end])
        at = end
    return "".join(parts), False
