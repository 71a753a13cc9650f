"""Escapes texts from outside for terminals and log files."""

import re
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TextIO

from django.core.management.base import BaseCommand, OutputWrapper

# Control characters, line and paragraph separators, what changes the direction of writing, what is invisible,
# and halves of characters. Joiners (U+200C, U+200D) stay: languages and emoji need them.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def escaped(text: str) -> str:
    """The text on one line, with each character that a terminal would obey written as an escape: `\\x1b`."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _EscapedOutput(OutputWrapper):
    """Writes each text as one line."""

    def write(  # type: ignore[override]
        self, msg: str = "", style_func: Callable[[str], str] | None = None, ending: str | None = None
    ) -> None:
        super().write(escaped(msg), style_func, ending)


def _escaped_once(stream: TextIO) -> _EscapedOutput:
    # A command that calls another one passes its own output, which escapes already.
    return stream if isinstance(stream, _EscapedOutput) else _EscapedOutput(stream)


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's own traceback as the log shows one: an error may quote what an upstream or a caller sent."""
    shown = "".join(traceback.format_exception(kind, error, trace)).rstrip("\n")
    sys.stderr.writelines(f"  | {escaped(line)}\n" for line in shown.split("\n"))


class EscapingCommand(BaseCommand):
    """A management command that escapes its output; each write is one line."""

    def __init__(
        self, stdout: TextIO | None = None, stderr: TextIO | None = None, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(stdout, stderr, *args, **kwargs)
        style = self.stderr.style_func
        self.stdout = _EscapedOutput(stdout or sys.stdout)
        self.stderr = _EscapedOutput(stderr or sys.stderr)
        self.stderr.style_func = style

    def run_from_argv(self, argv: list[str]) -> None:
        """Runs as a process of its own, which ends with a traceback if something raises unexpectedly."""
        sys.excepthook = _show_traceback
        super().run_from_argv(argv)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Escapes the streams that `call_command` passes, which Django would not."""
        if (stdout := options.pop("stdout", None)) is not None:
            self.stdout = _escaped_once(stdout)
        if (stderr := options.pop("stderr", None)) is not None:
            self.stderr = _escaped_once(stderr)
        return super().execute(*args, **options)
