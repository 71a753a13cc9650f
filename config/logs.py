"""What the logs may say."""

import logging

from accounts.keys.key_format import hidden


class Line(logging.Formatter):
    """A line, with its traceback, in which each API key is cut down to its prefix, whoever wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        return hidden(super().format(record))
