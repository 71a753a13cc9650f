"""Blanks between a quote and a separator of CSV, which people put there and RFC 4180 does not know."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

# The rest of a quoted cell with its closing quote; a quote within it is doubled.
_REST: Final = re.compile(r'[^"]*(?:""[^"]*)*"(?!")')


def without_blanks_at_quotes(lines: Iterable[str], separator: str = ",") -> Iterator[str]:
    """The lines without the blanks before an opening and after a closing quote. A quoted cell may have
    several lines."""
    # A tab that separates is no blank.
    blank = " " if separator == "\t" else r"[ \t]"
    before = re.compile(f'{blank}+(?=")')
    after = re.compile(rf"{blank}+(?={separator}|\r?\n?$)")
    inside = False
    for line in lines:
        if inside or '"' in line:
            line, inside = _tidied(line, inside, separator, before, after)
        yield line


def _tidied(
    line: str, inside: bool, separator: str, before: re.Pattern[str], after: re.Pattern[str]
) -> tuple[str, bool]:
    """The line, and whether a quoted cell goes on after it; `inside`: whether one goes on at its start."""
    parts: list[str] = []
    at = 0
    while at < len(line):
        if not inside:
            # At the beginning of a cell.
            if blanks := before.match(line, at):
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
            if blanks := after.match(line, at):
                at = blanks.end()
        # What is left of the cell, which is nothing after a quoted one that is well-formed.
        found = line.find(separator, at)
        end = len(line) if found < 0 else found + 1
        parts.append(line[at:end])
        at = end
    return "".join(parts), False
