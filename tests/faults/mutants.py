"""`python -m tests.faults.mutants`: takes each guard away in turn and shows that a test fails for it.

Works on copies of the tree, two side by side, and on a PostgreSQL as tests.run finds it, because row locks
only show there. Ends with 1 if no test fails for a guard, or if it is not where the list says.
"""

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import NoReturn
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests import services
from tests.faults.guards import GUARDS
from tests.faults.guards.guard import Guard

_SIDE_BY_SIDE = 2
_TEST_SECONDS = 20
_MUTANT_SECONDS = 120
_BASELINE_SECONDS = 300
_MEMORY_BYTES = 2 * 1024**3
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache", ".hypothesis")
_OPTIONS = ("-x", "-q", "-rf", "--tb=no", "-n0", "-pno:randomly", "-pno:cacheprovider", "--reuse-db")
_FAILED = re.compile(r"^FAILED (\S+?)(?:\[| |$)", re.MULTILINE)
_TESTS_FAILED = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the tests without a guard: the test that failed, or why none is shown to."""

    guard: Guard
    test: str
    trouble: str = ""

    def row(self) -> tuple[str, str]:
        """The guard and its test, for the table."""
        return self.guard.name, self.test or self.trouble


class Bench:
    """A copy of the tree with a database of its own, on which one run of tests at a time is made."""

    def __init__(self, folder: Path, url: str, number: int) -> None:
        self._tree = folder / f"tree-{number}"
        self._name = f"{urlsplit(url).path.strip('/')}_{number}"
        self._url = url
        self._environment = services.environment_without_settings() | {
            "TAKEONE_VAR": str(folder / f"var-{number}"),
            "DATABASE_URL": urlsplit(url)._replace(path=f"/{self._name}").geturl(),
            # A file that is changed twice within a second would else be taken from its cache.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Whether the test database is as the migrations say.
        self._usable = False
        shutil.copytree(services.ROOT, self._tree, ignore=_LEFT_OUT)

    def run(self, tests: Iterable[str], seconds: float) -> tuple[int | None, str]:
        """pytest's exit code, None where it took too long, and what it wrote."""
        options = [*_OPTIONS, f"--timeout={_TEST_SECONDS}"]
        if not self._usable:
            options.append("--create-db")
        command = [sys.executable, "-m", "pytest", *options, *tests]
        with subprocess.Popen(
            command,
            cwd=self._tree,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            if sys.platform == "linux":
                # Without its guard, a body without end is read until the memory is full.
                resource.prlimit(process.pid, resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                self._usable = False
                _kill(process)
                return None, process.communicate()[0]
            except BaseException:
                _kill(process)
                raise
        self._usable = True
        return process.returncode, output

    def without(self, guard: Guard) -> Verdict:
        """Runs the guard's tests on the code without it."""
        place = self._tree / guard.file
        source = place.read_text()
        try:
            removed = guard.removed_from(source)
        except ValueError as error:
            return Verdict(guard, "", f"NOT FOUND: {error}")
        schema = "/migrations/" in guard.file
        self._usable = self._usable and not schema
        place.write_text(removed)
        try:
            code, output = self.run(guard.tests.split(" ", _words(guard.tests)), _MUTANT_SECONDS)
        finally:
            place.write_text(source)
            self._usable = self._usable and not schema
        failed = _FAILED.search(output)
        if code == _TESTS_FAILED and failed:
            return Verdict(guard, failed[1])
        if code == 0:
            return Verdict(guard, "", "SURVIVED")
        last = output.strip().splitlines()[-1:] or [""]
        return Verdict(guard, "", f"NO VERDICT: {'too slow' if code is None else last[0]}")

    def drop_database(self) -> None:
        """Removes the test database."""
        with suppress(psycopg.Error), services.connect(self._url) as connection:
            name = sql.Identifier(f"test_{self._name}")
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


def _words(tests: str) -> int:
    """How often to split: what follows -k is one expression."""
    head, _, expression = tests.partition(" -k ")
    return len(head.split()) + 1 if expression else -1


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    """Runs what was chosen and prints the table; 1 where a guard is not shown to be needed."""
    parser = argparse.ArgumentParser(prog="make mutants ARGS=…", description="Removes each guard in turn.")
    parser.add_argument("--list", action="store_true", help="only name the guards")
    parser.add_argument("--only", metavar="NAME", action="append", help="guards with this in name or place")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table to this file as well")
    options = parser.parse_args(arguments)
    guards = [
        g for g in GUARDS if not options.only or any(part in f"{g.name} {g.place}" for part in options.only)
    ]
    if not guards:
        print("No guard has such a name; --list names them.")
        return 1
    if options.list:
        print("\n".join(f"{guard.name}  ({guard.place})" for guard in guards))
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    began = time.monotonic()
    choice = os.environ.get("TAKEONE_TEST_SERVICES", "") or "any"
    try:
        with (
            tempfile.TemporaryDirectory(prefix="takeone-mutants-") as folder,
            services.postgresql(choice) as database,
        ):
            _say(database.line)
            if not database.url:
                _say("Row locks and partial indexes only show on PostgreSQL.")
                return 1
            verdicts = _judge(guards, Path(folder), database.url)
    except services.Unusable as error:
        _say(str(error))
        return 1
    if not verdicts:
        return 1
    _say(_table(verdicts))
    if options.markdown:
        options.markdown.write_text(_markdown(verdicts))
    missed = [verdict for verdict in verdicts if verdict.trouble]
    _say(
        f"\n{len(verdicts) - len(missed)} of {len(verdicts)} guards have a test that fails without them,"
        f" in {time.monotonic() - began:.0f} s."
    )
    return 1 if missed else 0


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """A signal unwinds like an exception, so that what was started is stopped."""
    raise SystemExit(128 + number)


def _say(line: str) -> None:
    print(line, flush=True)


def _judge(guards: Sequence[Guard], folder: Path, url: str) -> list[Verdict]:
    """A verdict for each guard, in order; none at all where the tests fail with all guards in place."""
    benches = [Bench(folder, url, number) for number in range(1, _SIDE_BY_SIDE + 1)]
    free: SimpleQueue[Bench] = SimpleQueue()

    def judge(guard: Guard) -> Verdict:
        bench = free.get()
        try:
            verdict = bench.without(guard)
        finally:
            free.put(bench)
        if verdict.trouble:
            _say(f"{verdict.trouble}  {guard.name}")
        return verdict

    files = sorted({word for guard in guards for word in guard.tests.split() if word.startswith("tests/")})
    pool = ThreadPoolExecutor(_SIDE_BY_SIDE)
    try:
        halves = [files[number::_SIDE_BY_SIDE] for number in range(_SIDE_BY_SIDE)]
        runs = [
            (bench, half, pool.submit(bench.run, half, _BASELINE_SECONDS))
            for bench, half in zip(benches, halves, strict=True)
            if half
        ]
        green = True
        for _, half, run in runs:
            code, output = run.result()
            if code != 0:
                green = False
                _say(f"With all guards in place, {' '.join(half)} fails:\n{output[-4000:]}")
        if not green:
            return []
        for bench in benches:
            free.put(bench)
        return list(pool.map(judge, guards))
    finally:
        pool.shutdown(cancel_futures=True)
        for bench in benches:
            bench.drop_database()


def _table(verdicts: Sequence[Verdict]) -> str:
    rows = [("guard", "failed test"), *(verdict.row() for verdict in verdicts)]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}} | {test}" for name, test in rows)


def _markdown(verdicts: Sequence[Verdict]) -> str:
    rows = [verdict.row() for verdict in verdicts]
    lines = ["| guard | failed test |", "|---|---|", *(f"| {name} | `{test}` |" for name, test in rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
