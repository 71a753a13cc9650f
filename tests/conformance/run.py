"""`python -m tests.conformance.run`: tries Take One against the real code of servers that speak `/v1/videos`.

Exits with 1 if a case failed, and with 2 if a server cannot be installed.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import pytest

from tests.conformance import results
from tests.conformance.cases import CASES, Case
from tests.conformance.environments import NotInstalled, installed, version_of
from tests.conformance.results import Result
from tests.conformance.retries import retries
from tests.conformance.trial import SERVERS, Trial, trial_of

_CASE_SECONDS: Final = 180
_WHOLE_SECONDS: Final = 1500
_SHOWN_CHARACTERS: Final = 300


class OutOfTime(BaseException):
    """A case, or the whole run, took too long."""


def main() -> int:
    """Run the cases and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.run", description=__doc__)
    parser.add_argument("--only", choices=SERVERS, help="one server")
    parser.add_argument("--case", choices=[*CASES, "retries"], help="one case")
    parser.add_argument("--keep", action="store_true", help="keep the folder with what the processes printed")
    parser.add_argument("--table", action="store_true", help="print the table of the last results, and end")
    arguments = parser.parse_args()
    if arguments.table:
        print(results.table(results.load()), end="")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="conformance-"))
    ends = time.monotonic() + _WHOLE_SECONDS
    found: list[Result] = []
    try:
        for server in [arguments.only] if arguments.only else SERVERS:
            installed(server)
            found += _tried(server, arguments.case, folder / server, ends)
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        if arguments.keep:
            print(f"Kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if found:
            results.save(results.merge(results.load(), found))
    return 1 if any(each.outcome != "ok" for each in found) else 0


def _tried(server: str, only: str | None, folder: Path, ends: float) -> list[Result]:
    """The results of one server's cases. Each is printed at once."""
    cases: dict[str, Case] = dict(CASES) | ({"retries": retries} if server == "litellm" else {})
    wanted = {name: case for name, case in cases.items() if only in (None, name)}
    found: list[Result] = []
    if not wanted:
        return found
    version = version_of(server)
    folder.mkdir()

    def note(case: str, outcome: str, detail: str) -> None:
        found.append(Result(server, version, case, "ok" if outcome == "ok" else "FAILED", detail))
        print(found[-1].line(), flush=True)

    try:
        with _limit(ends, _CASE_SECONDS) as restart_clock, trial_of(server, folder) as trial:
            for name, case in wanted.items():
                restart_clock()
                note(name, *_outcome(case, trial))
    except (Exception, OutOfTime, pytest.fail.Exception) as error:
        for name in [name for name in wanted if name not in {each.case for each in found}]:
            note(name, "FAILED", f"not reached: {_first_line(error)}")
    return found


def _outcome(case: Case, trial: Trial) -> tuple[str, str]:
    try:
        return "ok", case(trial)
    except (Exception, OutOfTime, pytest.fail.Exception) as error:
        traceback.print_exc()
        return "FAILED", _first_line(error)


@contextmanager
def _limit(ends: float, seconds: float) -> Iterator[Callable[[], None]]:
    """Raises OutOfTime if a step takes longer than `seconds`, or the run goes on after `ends`."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"not within {seconds:g} s, or the whole run is over its bound")

    def restart_clock() -> None:
        left = min(seconds, ends - time.monotonic())
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.01))

    before = signal.signal(signal.SIGALRM, ring)
    restart_clock()
    try:
        yield restart_clock
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _first_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:_SHOWN_CHARACTERS]


if __name__ == "__main__":
    sys.exit(main())
