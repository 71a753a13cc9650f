"""What the logs may say."""

import logging
from types import TracebackType

from accounts.keys.key_format import hidden
from api.escaping import escaped

_Info = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Line(logging.Formatter):
    """A line, in which each API key is cut down to its prefix and no text can begin another line.

    A traceback follows on lines of its own, each behind `  | `: what an exception quotes cannot pass for a
    record either.
    """

    def format(self, record: logging.LogRecord) -> str:
        # Another handler's formatter may have left its own version here, in which nothing is escaped.
        before, record.exc_text = record.exc_text, None
        try:
            return hidden(super().format(record))
        finally:
            record.exc_text = before

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record))

    def formatException(self, ei: _Info) -> str:
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join(f"  | {escaped(line)}" for line in text.split("\n"))
