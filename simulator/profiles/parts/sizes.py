"""Sizes of any pixels, as servers take them that make any size."""

import re
from typing import Final

from simulator.catalogue import MAX_EXTENDED_SECONDS

PATTERN: Final = r"^\d+x\d+$"
_FORM: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_LEAST, _MOST = 64, 1920


def is_size(text: str) -> bool:
    """Whether it is WIDTHxHEIGHT, of more than no pixel."""
    match = _FORM.fullmatch(text)
    return match is not None and all(int(number) > 0 for number in match.groups())


def clip_size(text: str) -> str:
    """The size of the clip that is rendered: even, because H.264 wants that, and within bounds."""
    match = _FORM.fullmatch(text)
    assert match is not None
    width, height = (min(max(int(number) // 2 * 2, _LEAST), _MOST) for number in match.groups())
    return f"{width}x{height}"


def clip_seconds(seconds: float) -> int:
    """The length of the clip that is rendered."""
    return min(max(round(seconds), 1), MAX_EXTENDED_SECONDS)
