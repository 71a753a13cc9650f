"""`python -m tests.faults.soak`: callers go on asking while everything is killed, frozen and lied to.

Starts a deployment of its own and ends with one line of JSON; with 1 if a promise was broken, and then leaves
the deployment's logs where it says.
"""

import argparse
import json
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import psycopg
import pytest

from tests.e2e.processes import Program, eventually
from tests.faults.blows import SECRET, Blows
from tests.faults.books import Books, is_quiet, judge
from tests.faults.operator import Operator
from tests.faults.persistent import NoAnswer, ask_for, ask_for_batch, insist
from tests.faults.stack import SIMULATOR, Stack, running
from tests.faults.waiting import wait
from tests.servers import Absent
from upstreams.client.types import OPERATIONS

_CALLERS: Final = 4
_MAX_OPEN: Final = 100
_REST_SECONDS: Final = 240
_PICTURES_DUE: Final = "SELECT job_id FROM videos_preview WHERE due_at IS NOT NULL"
# The words of `manage.py check_results`.
_DISAGREEMENTS: Final = {"missing", "size", "hash", "unreadable", "unused", "orphan", "foreign", "unfinished"}


class Soak(Blows):
    """One run: what was promised to callers, and what was done to the deployment meanwhile."""

    def __init__(self, stack: Stack, seed: int, *, lies: bool) -> None:
        super().__init__(stack, random.Random(seed), lies=lies)
        self._seed = seed
        self._lock = threading.Lock()
        # While false, callers neither cancel nor retry: a backup that is restored would forget it.
        self._may_change = threading.Event()
        self._may_change.set()
        self._changing = 0
        self._operator = Operator(stack)
        # The prompt of each job, and when it was promised.
        self.accepted: dict[str, tuple[str, datetime]] = {}
        # What was promised after the backup that was restored, which nobody can know any more.
        self.forgotten: dict[str, str] = {}
        self.batches: set[str] = set()
        self.retried: Counter[str] = Counter()
        self.unanswered = 0
        # Of what was promised, so many are made from another video.
        self.from_source = 0
        # Files that no job used.
        self.swept = 0

    def run(self, seconds: float, pause: tuple[float, float]) -> Books:
        """Asks and strikes for so long, a blow after each pause; then waits for rest, and judges."""
        self._mistreat()
        sweeper = Program(
            ["-m", "tests.faults.sweeper"], self._stack.settings, self._stack.folder / "sweeper.log"
        )
        try:
            return self._run(seconds, pause, sweeper)
        finally:
            sweeper.end()

    def _run(self, seconds: float, pause: tuple[float, float], sweeper: Program) -> Books:
        striking = self._strikes(pause)
        begun, ends = datetime.now(UTC), time.monotonic() + seconds
        with ThreadPoolExecutor(_CALLERS + 1) as pool:
            at_work = [pool.submit(self._call, random.Random(f"{self._seed}/{n}")) for n in range(_CALLERS)]
            at_work.append(pool.submit(self._operator.watch, self._ends))
            try:
                while time.monotonic() < ends:
                    striking()
            finally:
                self._ends.set()
            for each in at_work:
                each.result()
        asked = (begun, datetime.now(UTC))
        self.ended.update(self._stack.mend())
        eventually(self._stack.is_up, "everything up again", within=60)
        self._stack.disarm()

        def at_rest() -> bool:
            with suppress(psycopg.OperationalError):
                return is_quiet(self._stack)
            return False

        # What the list cannot tell, a person decides by the upstream's bill. What does not come to rest even
        # then is found by the judge.
        def decided() -> bool:
            return at_rest() or (self._operator.decide() and False)

        wait(decided, _REST_SECONDS)
        # It was there to the end, and has removed something.
        sweeper.process.terminate()
        assert sweeper.ends(within=30) == 0, sweeper.report()
        self.swept = int(re.findall(r"^removed (\d+)$", sweeper.output, re.M)[-1])
        books = judge(
            self._stack,
            self.accepted.keys() - self.forgotten.keys(),
            self.retried,
            forgotten=self.forgotten,
            named=self._operator.lost,
            asked=asked,
            outages=self.outages,
        )
        books.files = self._disagreements()
        return books

    def _disagreements(self) -> list[str]:
        """Of files and jobs. A database that was restored does not know newer files. What is left of a try to
        make pictures is swept away once they are made."""
        expected = {"unused", "orphan"} if self.blows["backup_restored"] else set()
        drawn_later = {str(job) for (job,) in self._stack.ask(_PICTURES_DUE)}
        command = ["manage.py", "check_results", "--hash", "--min-age", "0"]
        check = Program(command, self._stack.settings, self._stack.folder / "check.log")
        try:
            code = check.ends(within=120)
        finally:
            check.end()
        found = [line for line in check.output.splitlines() if line.partition("  ")[0] in _DISAGREEMENTS]
        if code and not found:
            return [check.report()]
        return [
            line
            for line in found
            if (parts := line.split("  "))[0] not in expected
            and not (parts[0] == "unused" and parts[2].removeprefix("job ") in drawn_later)
        ]

    @property
    def decided(self) -> Counter[str]:
        """The commands by which a person decided, and how often."""
        return self._operator.decided

    def blow_backup_restored(self) -> None:
        """A backup is taken, work goes on, the backup is restored; then docs/backups.md is followed."""
        with self._nothing_changes() as quiet:
            if not quiet:
                return
            # The list shows all: what it does not show is sent again, as docs/reliability.md says.
            self._tell_the_truth()
            taken = datetime.now(UTC)
            backup = self._stack.back_up()
            self._ends.wait(self._chance.uniform(3, 6))
            self._stack.restore(backup)
            eventually(self._stack.is_up, "the restored deployment", within=60)
            with self._lock:
                kept = {str(job) for (job,) in self._stack.ask("SELECT id FROM videos_job")}
                self.forgotten |= {
                    job: prompt
                    for job, (prompt, at) in self.accepted.items()
                    if job not in kept and at > taken
                }
            # It answers only once its list can be read.
            wait(self._recovered, 60)
            self.outages.append((taken, datetime.now(UTC)))
        wait(self._mistreat, 20)

    def blow_upstream_without_its_memory(self) -> None:
        """What it renders is lost, and its ids count from 1 again; an operator accepts the loss."""
        begun = datetime.now(UTC)
        self._kill(SIMULATOR)
        wait(self._stack.forget_videos, 20)
        self._operator.knows_of_loss.set()
        wait(self._mistreat, 20)
        # Until then nothing is sent, fetched or ended there.
        wait(lambda: not self._operator.knows_of_loss.is_set(), 60)
        self.outages.append((begun, datetime.now(UTC)))

    def _recovered(self) -> bool:
        with suppress(pytest.fail.Exception):
            self._operator.recover(self._stack.settings["SORA_PROVIDER"])
            return True
        return False

    @contextmanager
    def _nothing_changes(self) -> Iterator[bool]:
        """Holds callers back from cancels and retries; False if one that is under way does not end."""
        self._may_change.clear()
        try:
            yield wait(lambda: self._changing == 0, 20)
        finally:
            self._may_change.set()

    @contextmanager
    def _change(self) -> Iterator[bool]:
        """A cancel or a retry; False if there may be none now."""
        with self._lock:
            may = self._may_change.is_set()
            self._changing += may
        try:
            yield may
        finally:
            with self._lock:
                self._changing -= may

    # What callers do.

    def _call(self, chance: random.Random) -> None:
        number = 0
        while not self._ends.wait(chance.uniform(0.1, 0.7)):
            if self._is_behind():
                continue
            if chance.random() < 0.06:
                self._ask_for_batch(chance)
                continue
            if chance.random() < 0.08:
                self._go_on_from_one(chance)
                continue
            number += 1
            # Some look alike upstream, where nothing but the time then tells them apart.
            alike = chance.random() < 0.1
            prompt = "A boat" if alike else f"A boat, {chance.randrange(1 << 48):x}"
            try:
                job = ask_for(self._stack, prompt, metadata={"number": number}, within=120)
            except NoAnswer:
                # Promised to nobody; whether it was made is judged by what it cost.
                with self._lock:
                    self.unanswered += 1
                continue
            with self._lock:
                self.accepted[job] = prompt, datetime.now(UTC)
            if chance.random() < 0.08:
                self._regret(job, chance)
            if chance.random() < 0.2:
                self._retry_one(chance)

    def _go_on_from_one(self, chance: random.Random) -> None:
        """Remixes, edits or extends a completed video."""
        # Some look like new ones upstream.
        prompt = "A boat" if chance.random() < 0.03 else f"A boat goes on, {chance.randrange(1 << 48):x}"
        try:
            shown = insist(self._stack, "GET", "?status=completed&limit=20").json()
            completed = [job["id"] for job in shown.get("data", [])]
            if not completed:
                return
            path = f"/{chance.choice(completed)}/{chance.choice(OPERATIONS)}"
            answer = insist(self._stack, "POST", path, within=120, prompt=prompt)
        except NoAnswer:
            with self._lock:
                self.unanswered += 1
            return
        # The upstream may have lost the video, or given its id to another one.
        assert answer.status_code in {201, 404, 409}, answer.text
        if answer.status_code == 201:
            with self._lock:
                self.accepted[str(answer.json()["data"]["jobId"])] = prompt, datetime.now(UTC)
                self.from_source += 1

    def _ask_for_batch(self, chance: random.Random) -> None:
        prompts = [f"A fleet, {chance.randrange(1 << 48):x}" for _ in range(chance.randrange(2, 6))]
        try:
            batch, jobs = ask_for_batch(self._stack, prompts, within=120)
        except NoAnswer:
            with self._lock:
                self.unanswered += 1
            return
        with self._lock:
            now = datetime.now(UTC)
            self.accepted |= {job: (prompt, now) for job, prompt in zip(jobs, prompts, strict=True)}
            self.batches.add(batch)
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0, 5))
            with self._change() as may, suppress(NoAnswer):
                if may:
                    insist(self._stack, "DELETE", f"/{batch}", below="batches")

    def _is_behind(self) -> bool:
        """Whether more is open than can be worked off in the end."""
        with suppress(psycopg.Error):
            open_jobs = "SELECT count(*) FROM videos_job WHERE status IN ('pending', 'processing')"
            return bool(self._stack.ask(open_jobs)[0][0] > _MAX_OPEN)
        return False

    def _regret(self, job: str, chance: random.Random) -> None:
        time.sleep(chance.uniform(0, 3))
        with self._change() as may, suppress(NoAnswer):
            if may:
                insist(self._stack, "DELETE", f"/{job}")

    def _retry_one(self, chance: random.Random) -> None:
        with self._change() as may, suppress(NoAnswer):
            if not may:
                return
            answer = insist(self._stack, "GET", "?status=failed&limit=20")
            failed = [job["id"] for job in answer.json().get("data", [])]
            if failed:
                job = chance.choice(failed)
                # Counted first: one that is not answered may have been carried out.
                with self._lock:
                    self.retried[job] += 1
                if insist(self._stack, "POST", f"/{job}/retry").status_code == 409:
                    with self._lock:
                        self.retried[job] -= 1


def summary(soak: Soak, books: Books) -> dict[str, Any]:
    """The run's figures."""
    settled = sorted(books.unknown_seconds)
    p99 = settled[min(len(settled) - 1, int(len(settled) * 0.99))] if settled else 0.0
    return {
        "accepted": len(soak.accepted),
        "from_source": soak.from_source,
        "completed": books.statuses["completed"],
        "failed": books.statuses["failed"],
        "cancelled": books.statuses["cancelled"],
        "lost": len(books.lost),
        "paid_twice": len(books.paid_twice),
        "orphans": len(books.orphans),
        "unknown_open": len(books.unknown_open),
        "unknown_settled": len(settled),
        "unknown_settle_p99_s": round(p99, 1),
        "kills": soak.kills,
        "blows": soak.blows.total(),
        "decided_by_a_person": soak.decided.total(),
        "forgotten": len(soak.forgotten),
        "declared_foreign": books.declared_foreign,
        "longest_pause_s": round(books.longest_pause, 1),
        "ended_by_themselves": soak.ended.total(),
        "retried": soak.retried.total(),
        "unanswered": soak.unanswered,
        "batches": len(soak.batches),
        "batches_open": len(books.batches_open),
        "swept": soak.swept,
        "suspected_usd": str(books.suspected),
        "settled_usd": str(books.settled),
        "billed_usd": str(books.billed),
    }


def soak(
    folder: Path,
    *,
    seconds: float,
    seed: int,
    pause: tuple[float, float],
    lies: bool = False,
    two_upstreams: bool = False,
) -> tuple[Soak, Books]:
    """One run on a deployment in this folder. Raises servers.Absent."""
    settings = {"SORA_WEBHOOK_SECRET": SECRET, "SORA_BREAKER_FAILURES": "5"}
    if two_upstreams:
        # Few enough that the preferred one is often full.
        settings["SORA_CONCURRENCY"] = "6"
    options = ["--render-seconds", "1.5", "--count-ids"]
    with running(folder, settings, simulator=options, two_upstreams=two_upstreams) as stack:
        run = Soak(stack, seed, lies=lies)
        return run, run.run(seconds, pause)


def main(arguments: Sequence[str]) -> int:
    """Runs as told and prints the line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="make soak", description="Asks for videos while everything breaks.")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--two-upstreams", action="store_true", help="with failover between them")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    folder = Path(tempfile.mkdtemp(prefix="takeone-soak-"))
    print(f"Seed {options.seed}, {options.minutes:g} minutes, logs in {folder}", file=sys.stderr, flush=True)
    try:
        run, books = soak(
            folder,
            seconds=options.minutes * 60,
            seed=options.seed,
            pause=(1.0, 4.0),
            lies=True,
            two_upstreams=options.two_upstreams,
        )
    except Absent as error:
        print(error, file=sys.stderr)
        return 1
    faults = books.faults()
    print(json.dumps({"seed": options.seed, **summary(run, books)}))
    if faults:
        print(json.dumps(faults, indent=1, default=str), file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """A signal unwinds like an exception, so that what was started is stopped."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
