"""`python -m tests.run [--quick] [pytest's arguments]`: every check and test, as `make test` and CI run them.

The static checks come first, and tests run only if all of them pass. With --quick the tests are those that
start no process of their own and take no second each, up to the first failure. tests.services says which
database and broker are used, and how to choose others. TAKEONE_COVERAGE=1 also measures coverage and holds it
to its floors.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests import coverage_floors, runtime, services

_CHECK_SECONDS = 300
_NOTHING_COLLECTED = 5
_STOP_SECONDS = 30
_TWO = ["-n", "2", "--dist", "loadfile"]
_PARALLEL = [*_TWO, "-m", "not e2e and not nightly"]
# What starts threads, sockets or processes of its own, or waits for them.
_NOT_QUICK = ("simulator", "faults", "deploy", "upgrades", "test_web_server.py", "test_databases.py")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended."""

    name: str
    passed: bool
    seconds: float

    def __str__(self) -> str:
        return f"{'ok' if self.passed else 'FAILED':<7}{self.seconds:6.1f} s  {self.name}"


def main(arguments: list[str]) -> int:
    """Runs everything and sums up; 1 if anything failed."""
    # Handled, SIGINT is not ignored by pytest either, as it is by what a shell starts in the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    quick = arguments[:1] == ["--quick"]
    arguments = arguments[quick:]
    choice = os.environ.get("TAKEONE_TEST_SERVICES", "") or "any"
    if choice not in services.CHOICES:
        print(f"TAKEONE_TEST_SERVICES must be one of {', '.join(services.CHOICES)}, not {choice!r}.")
        return 1
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takeone-tests-")))
        try:
            database = stack.enter_context(services.postgresql(choice))
            broker = stack.enter_context(services.redis_server(choice))
        except services.Unusable as error:
            print(error)
            return 1
        _say(database.line)
        _say(broker.line)
        # Nothing that a check writes lands in the user's var/.
        bare = services.environment_without_settings() | {"TAKEONE_VAR": str(scratch)}
        without_redis = bare | ({"DATABASE_URL": database.url} if database.url else {})
        with_redis = without_redis | ({"REDIS_URL": broker.url} if broker.url else {})
        outcomes = _static(bare, scratch)
        if any(not outcome.passed for outcome in outcomes):
            _say("The tests do not run before these are mended.")
        elif quick:
            outcomes += _tests({"pytest": (quick_options(), without_redis)}, arguments)
        else:
            outcomes += _all_tests(without_redis, with_redis, arguments, scratch)
    _say("")
    for outcome in outcomes:
        _say(str(outcome))
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    _say(f"{len(failed)} of {len(outcomes)} failed: {', '.join(failed)}" if failed else "All passed.")
    return 1 if failed else 0


def quick_options() -> list[str]:
    """pytest's arguments for the quick tests: those that failed last come first, up to the first failure."""
    lines = (services.ROOT / "tests" / "slow.txt").read_text().splitlines()
    slow = [f"--deselect={line}" for line in lines if not line.startswith("#")]
    # By default xdist takes the longest files first, whatever failed.
    first = ["-x", "--failed-first", "--no-loadscope-reorder"]
    return [*_PARALLEL, *first, *(f"--ignore=tests/{name}" for name in _NOT_QUICK), *slow]


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """A signal unwinds like an exception, so that what was started is stopped."""
    raise SystemExit(128 + number)


def _say(line: str) -> None:
    print(line, flush=True)


def _static(bare: dict[str, str], scratch: Path) -> list[Outcome]:
    """The checks that need no service, two at a time; the longest first."""
    production = bare | {
        "SECRET_KEY": secrets.token_hex(32),
        "TAKEONE_URL": "https://takeone.example",
        "DATABASE_URL": "postgres://takeone@database.example/takeone",
        "REDIS_URL": "redis://redis.example:6379/0",
        "SORA_BASE_URL": "https://upstream.example/v1",
        "SORA_PROVIDER": "upstream",
        "SORA_API_KEY": secrets.token_hex(16),
    }
    python = [sys.executable]
    manage = [sys.executable, "manage.py"]
    schema = ["--validate", "--fail-on-warn", "--file", str(scratch / "schema.yml")]
    checks: list[tuple[str, list[str], dict[str, str]]] = [
        ("mypy", [*python, "-m", "mypy"], bare),
        ("ruff check", [*python, "-m", "ruff", "check", "--output-format", "concise", "."], bare),
        (
            "ruff format",
            [*python, "-m", "ruff", "format", "--check", "--output-format", "concise", "."],
            bare,
        ),
        ("import order", [str(Path(sys.executable).parent / "lint-imports")], bare),
        ("migrations", [*manage, "makemigrations", "--check", "--dry-run"], bare),
        ("deployment", [*manage, "check", "--deploy", "--fail-level", "WARNING"], production),
        ("schema", [*manage, "spectacular", *schema], bare),
        ("locks", [*python, "-m", "tests.locks"], bare),
    ]
    pool = ThreadPoolExecutor(2)
    try:
        return list(pool.map(lambda check: _quiet(*check), checks))
    finally:
        pool.shutdown(cancel_futures=True)


def _quiet(name: str, command: list[str], environment: dict[str, str]) -> Outcome:
    """Runs a check and shows its output only if it fails."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=services.ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_CHECK_SECONDS,
        )
        passed, output = done.returncode == 0, done.stdout
    except subprocess.TimeoutExpired:
        passed, output = False, f"It took longer than {_CHECK_SECONDS} s."
    outcome = Outcome(name, passed, time.monotonic() - began)
    _say(str(outcome) if passed else f"{outcome}\n{output.rstrip()}\n")
    return outcome


def _all_tests(
    without_redis: dict[str, str], with_redis: dict[str, str], arguments: list[str], scratch: Path
) -> list[Outcome]:
    """pytest three times. What starts the real processes comes last, and only that has Redis; of it, what
    depends on how busy the machine is runs alone."""
    try:
        # Now, and not within the time limit of the first test that needs it.
        runtime.interpreter()
    except runtime.NotInstalled as error:
        _say(str(error))
        return [Outcome("runtime lock", False, 0.0)]
    measured = os.environ.get("TAKEONE_COVERAGE", "") not in {"", "0"} and not arguments
    if measured:
        without_redis = without_redis | coverage_floors.environment(scratch)
    outcomes = _tests(
        {
            "pytest": ([*_PARALLEL, *(coverage_floors.OPTIONS if measured else [])], without_redis),
            "pytest e2e": ([*_TWO, "-m", "e2e and not alone and not nightly"], with_redis),
            "pytest alone": (["-n", "0", "-m", "e2e and alone and not nightly"], with_redis),
        },
        arguments,
    )
    if measured:
        lines, passed = coverage_floors.judge(scratch)
        _say("\n" + "\n".join(lines))
        outcomes.append(Outcome("coverage", passed, 0.0))
    return outcomes


def _tests(runs: dict[str, tuple[list[str], dict[str, str]]], arguments: list[str]) -> list[Outcome]:
    codes: dict[str, tuple[int, float]] = {}
    for name, (options, environment) in runs.items():
        _say(f"\n{name}")
        began = time.monotonic()
        code = _pytest([sys.executable, "-m", "pytest", *options, *arguments], environment)
        codes[name] = (code, time.monotonic() - began)
    # Arguments may choose tests of one of the two runs only.
    some = bool(arguments) and any(code != _NOTHING_COLLECTED for code, _ in codes.values())
    return [
        Outcome(name, code == 0 or (some and code == _NOTHING_COLLECTED), seconds)
        for name, (code, seconds) in codes.items()
    ]


def _pytest(command: list[str], environment: dict[str, str]) -> int:
    # In a session of its own Ctrl-C reaches it once, through us: a second one would cut its teardown short.
    with subprocess.Popen(
        command, cwd=services.ROOT, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    ) as run:
        try:
            return run.wait()
        except BaseException:
            # An interrupt, and nothing harsher, lets pytest end what its tests have started.
            run.send_signal(signal.SIGINT)
            try:
                run.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                run.kill()
            raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
