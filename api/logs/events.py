"""The lines that each process writes by itself. Their texts and fields are stable: programs look for them."""

from enum import StrEnum
from typing import Final


class LogEvent(StrEnum):
    """What has happened. docs/logs.md lists the fields of each."""

    REQUEST = "request answered"
    JOB = "job changed"
    SUBMISSION = "submission changed"
    RESULT = "result changed"
    BATCH = "batch changed"
    UPSTREAM = "upstream changed"
    CHECK = "check changed"
    CALL = "upstream called"
    TASK = "task done"


EACH: Final = {"each_time": True}
"""As `extra` of a warning or an error: each is written, because each tells of another thing."""
