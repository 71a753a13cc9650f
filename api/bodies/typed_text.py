"""Values of fields that come as text, in a cell of a table or a part of a form."""

import re
from collections.abc import Callable
from typing import Any, Final

from rest_framework.exceptions import ParseError

from api.bodies.json_field import Unreadable
from api.bodies.strict_json import BadNumber, read_object

_WHOLE: Final = re.compile(r"[+-]?\d{1,20}")
# As people write them: 10s, 10 sec, 1080P, and what a spreadsheet makes of 16:9 (a time, 16:09:00).
# No blank in the number, so that no text takes long: of several ways to divide blanks each would be tried.
_SECONDS: Final = re.compile(r"([^\s_]*?)\s*(?:s|sec|secs|seconds?)?", re.IGNORECASE)
_RATIO: Final = re.compile(r"0?(\d{1,2})\s*[:x/]\s*0?(\d{1,2})(?::00)?", re.IGNORECASE)


def typed(name: str, text: str) -> Any:
    """A field's value from text, as JSON would have it. If it is no such value it stays text, and
    is refused."""
    read = _READ.get(name)
    try:
        return read(text.strip()) if read else text
    except BadNumber as error:
        return Unreadable(text, error.reason)
    except ParseError as error:
        return Unreadable(text, str(error.detail))
    except ValueError:
        return text


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError
    return text.lower() == "true"


def _seconds(text: str) -> float:
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise ValueError
    return float(match[1])


def _ratio(text: str) -> str:
    match = _RATIO.fullmatch(text)
    return f"{int(match[1])}:{int(match[2])}" if match else text


_READ: Final[dict[str, Callable[[str], Any]]] = {
    "duration": _seconds,
    "resolution": str.lower,
    "aspectRatio": _ratio,
    "style": str.lower,
    "fit": str.lower,
    "imageFit": str.lower,
    "inputReference": str,
    "lastFrame": str,
    "fps": _whole,
    "seed": _whole,
    "retainFor": _whole,
    "concurrency": _whole,
    "audio": _flag,
    "extra": lambda text: read_object(text.encode("utf-8", "surrogatepass"), "extra"),
    "metadata": lambda text: read_object(text.encode("utf-8", "surrogatepass"), "metadata"),
}
