"""A job as it is shown at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.jobs import Job


@dataclass(frozen=True, slots=True)
class View:
    """`words` are a server's own for `queued` and `in_progress`. A create is answered as not yet begun."""

    job: Job
    now: float
    words: Mapping[str, str]
    just_created: bool = False

    @property
    def running(self) -> bool:
        return self.just_created or self.job.running(self.now)

    @property
    def completed(self) -> bool:
        return not self.just_created and self.job.completed(self.now)

    @property
    def status(self) -> str:
        """The server's own word; a status that a fault names is shown as it is."""
        fate = self.job.fate
        named = fate.runs_as is not None and fate.progress is None
        if self.just_created and not named:
            return self.words.get("queued", "queued")
        status = self.job.status(self.now)
        return self.words.get(status, status) if self.running and not named else status

    @property
    def begun(self) -> bool:
        """Whether the render is no longer only queued."""
        return not self.just_created and self.job.status(self.now) != "queued"

    @property
    def progress(self) -> int:
        return 0 if self.just_created else self.job.progress(self.now)

    @property
    def created_at(self) -> int:
        return int(self.job.created_at + self.job.fate.clock_offset)

    @property
    def ended_at(self) -> int | None:
        """When it ended, in whole seconds."""
        if self.running or self.job.settles_at is None:
            return None
        return int(self.job.settles_at + self.job.fate.clock_offset)

    @property
    def error(self) -> Any:
        """What the fault says of a job that did not complete; None of any other."""
        return None if self.running or self.completed else self.job.fate.error

    @property
    def words_of_error(self) -> Any:
        """The message of an error that has one; else the error."""
        error = self.error
        return error["message"] if isinstance(error, dict) and "message" in error else error
