"""`python -m tests.conformance.run`: tries Take One against the code of others that speaks `/v1/videos`.

Exits with 1 if a case failed, and with 2 if something cannot be installed. What needs a program that this
machine does not have is left out, and a line says so.
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
from tests.conformance.cases import Case
from tests.conformance.environments import NotInstalled, NotThere
from tests.conformance.judges import JUDGES
from tests.conformance.results import Result
from tests.conformance.trial import Trial, trial_of

_CASE_SECONDS: Final = 180
_WHOLE_SECONDS: Final = 1500
_SHOWN_CHARACTERS: Final = 300


class OutOfTime(BaseException):
    """A case, or the whole run, took too long."""


def main() -> int:
    """Run the cases and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.run", description=__doc__)
    parser.add_argument("--only", choices=JUDGES, help="one of them")
    parser.add_argument("--case", choices=_all_cases(), help="one case")
    parser.add_argument("--keep", action="store_true", help="keep the folder with what the processes printed")
    parser.add_argument("--table", action="store_true", help="print the tables of the last results, and end")
    arguments = parser.parse_args()
    if arguments.table:
        found = results.load()
        tables = [results.stand_ins_table(found, each) for each in (results.STAND_INS, results.CALLERS)]
        print(results.table(found), *tables, sep="\n", end="")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="conformance-"))
    ends = time.monotonic() + _WHOLE_SECONDS
    found: list[Result] = []
    try:
        for name in [arguments.only] if arguments.only else JUDGES:
            try:
                found += _tried(name, arguments.case, folder / name, ends)
            except NotThere as error:
                print(f"{name}: not tried: {error}", flush=True)
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


def _all_cases() -> list[str]:
    return list(dict.fromkeys(case for judge in JUDGES.values() for case in judge.cases))


def _tried(server: str, only: str | None, folder: Path, ends: float) -> list[Result]:
    """The results of one server's cases. Each is printed at once. Raises NotInstalled, NotThere."""
    judge = JUDGES[server]
    wanted = {name: case for name, case in judge.cases.items() if only in (None, name)}
    found: list[Result] = []
    if not wanted:
        return found
    version = judge.version()
    folder.mkdir()

    def note(case: str, outcome: str, detail: str) -> None:
        found.append(Result(server, version, case, "ok" if outcome == "ok" else "FAILED", detail))
        print(found[-1].line(), flush=True)

    try:
        with _limit(ends, _CASE_SECONDS) as restart_clock, trial_of(judge.server(folder), folder) as trial:
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
