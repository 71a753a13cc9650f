"""Real processes under test: each in a session of its own, its output in a file, always ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from tests import runtime
from tests.services import ROOT, environment_without_settings
from tests.timeouts import TIMEOUT

T = TypeVar("T")

_END_SECONDS = 10
_SHOWN_BYTES = 6000


def eventually(look: Callable[[], T], what: str, *, within: float, every: float = 0.05) -> T:
    """Looks until what it finds is true, and returns that; fails the test after `within` seconds."""
    ends = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= ends:
            pytest.fail(f"Not within {within:g} s: {what}. Last seen: {found!r}")
        time.sleep(every)


def members(session: int) -> dict[int, str]:
    """The living processes of a session, by id, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # After the name, which may hold anything and ends with the last bracket: state, parent, group,
            # session.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def memory_bytes(session: int) -> dict[str, int]:
    """What each process of a session has in memory for itself, and its share of what several have, by command
    line."""
    return {
        f"{process} {command[-40:]}": _memory_of(process) for process, command in members(session).items()
    }


def _memory_of(process: int) -> int:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


class Program:
    """A started program and all that it starts, which share its session."""

    def __init__(
        self,
        arguments: Sequence[str],
        settings: Mapping[str, str],
        output: Path,
        folder: Path = ROOT,
        interpreter: str = "",
    ) -> None:
        self.name = " ".join(arguments)
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [interpreter or runtime.interpreter(), *arguments],
                cwd=folder,
                env=runtime.environment(environment_without_settings())
                | {"PYTHONUNBUFFERED": "1"}
                | dict(settings),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def session(self) -> int:
        """The session's id, which is the id of the process that leads it."""
        return self.process.pid

    @property
    def output(self) -> str:
        """What it and its children have printed so far."""
        return self._output.read_text(errors="replace")

    def report(self) -> str:
        """Its output for people, the end of it where it is long."""
        return f"$ {self.name}\n(exit code {self.process.poll()})\n{self.output[-_SHOWN_BYTES:]}"

    def running(self) -> bool:
        """True; fails the test where the program has ended."""
        if self.process.poll() is not None:
            pytest.fail(f"It ended by itself.\n{self.report()}")
        return True

    def ends(self, *, within: float) -> int:
        """Waits for its end and returns its exit code."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            pytest.fail(f"Still running after {within:g} s: {members(self.session)}\n{self.report()}")

    def interrupt(self) -> None:
        """What Ctrl-C does: SIGINT to all in the foreground."""
        os.killpg(self.session, signal.SIGINT)

    def kill(self) -> None:
        """What a power cut does: SIGKILL to every process of the session."""
        self._kill_members()
        self.process.wait(TIMEOUT)
        eventually(lambda: not self._kill_members(), f"the end of {self.name}", within=TIMEOUT)

    def _kill_members(self) -> dict[int, str]:
        found = members(self.session)
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return found

    def end(self) -> None:
        """Ends whatever is left of it: politely, then not."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_SECONDS)
        self.kill()


def run(arguments: Sequence[str], settings: Mapping[str, str], folder: Path = ROOT) -> str:
    """Runs a program to its end and returns what it printed; fails the test where it fails."""
    done = subprocess.run(
        [runtime.interpreter(), *arguments],
        cwd=folder,
        env=runtime.environment(environment_without_settings()) | dict(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout
