"""`python -m tests.faults.soak`: callers go on asking while everything is killed, frozen and lied to.

Starts a deployment of its own and ends with one line of JSON; with 1 if a promise was broken, and then leaves
the deployment's logs where it says.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import psycopg
import requests

from tests.e2e.processes import eventually
from tests.faults.books import Books, is_quiet, judge
from tests.faults.persistent import NoAnswer, ask_for, ask_for_batch, insist
from tests.faults.stack import SIMULATOR, WEB, Stack, running
from tests.servers import Absent

_SECRET: Final = "whsec_c29hayBmb3IgbWludXRlcw=="
_CALLERS: Final = 4
_MAX_OPEN: Final = 100
_REST_SECONDS: Final = 240
_FROZEN_SECONDS: Final = 3.0
# What the upstream does to a fifth of its calls, and to the renders and webhooks besides.
_UPSTREAM: Final[tuple[dict[str, Any], ...]] = (
    {"operation": "create", "fault": "created_then_drop", "share": 0.05},
    {"operation": "create", "fault": "created_then_500", "share": 0.05},
    {"operation": "create", "fault": "error", "status": 500, "share": 0.04},
    {"operation": "create", "fault": "refuse", "share": 0.03},
    {"operation": "create", "fault": "error", "status": 429, "retry_after": 1, "share": 0.03},
    {"operation": "create", "fault": "failed", "share": 0.03},
    {"operation": "create", "fault": "lagging_list", "seconds": 2, "share": 0.1},
    {"operation": "list", "fault": "error", "status": 503, "share": 0.1},
    {"operation": "list", "fault": "slow", "seconds": 0.5, "share": 0.1},
    {"operation": "retrieve", "fault": "error", "status": 502, "share": 0.2},
    {"operation": "delete", "fault": "deleted_then_drop", "share": 0.2},
    {"operation": "content", "fault": "truncated", "share": 0.1},
    {"operation": "content", "fault": "refuse", "share": 0.1},
    {"operation": "webhook", "fault": "lost", "share": 0.1},
    {"operation": "webhook", "fault": "doubled", "share": 0.1},
)


class Soak:
    """One run: what was promised to callers, and what was done to the deployment meanwhile."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self._stack = stack
        self._seed = seed
        self._chance = random.Random(seed)
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self.accepted: set[str] = set()
        self.batches: set[str] = set()
        self.retried: Counter[str] = Counter()
        self.blows: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.unanswered = 0
        self.kills = 0

    def run(self, seconds: float, pause: tuple[float, float]) -> Books:
        """Asks and strikes for so long, a blow after each pause; then waits for rest, and judges."""
        self._mistreat()
        striking = self._strikes(pause)
        ends = time.monotonic() + seconds
        with ThreadPoolExecutor(_CALLERS) as pool:
            callers = [pool.submit(self._call, random.Random(f"{self._seed}/{n}")) for n in range(_CALLERS)]
            try:
                while time.monotonic() < ends:
                    striking()
            finally:
                self._ends.set()
            for caller in callers:
                caller.result()
        self.ended.update(self._stack.mend())
        eventually(self._stack.is_up, "everything up again", within=60)
        self._stack.disarm()

        def at_rest() -> bool:
            with suppress(psycopg.OperationalError):
                return is_quiet(self._stack)
            return False

        # What does not come to rest is found by the judge.
        _wait(at_rest, _REST_SECONDS)
        return judge(self._stack, self.accepted, self.retried)

    # What callers do.

    def _call(self, chance: random.Random) -> None:
        number = 0
        while not self._ends.wait(chance.uniform(0.1, 0.7)):
            if self._is_behind():
                continue
            if chance.random() < 0.06:
                self._ask_for_batch(chance)
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
                self.accepted.add(job)
            if chance.random() < 0.08:
                self._regret(job, chance)
            if chance.random() < 0.2:
                self._retry_one(chance)

    def _ask_for_batch(self, chance: random.Random) -> None:
        prompts = [f"A fleet, {chance.randrange(1 << 48):x}" for _ in range(chance.randrange(2, 6))]
        try:
            batch, jobs = ask_for_batch(self._stack, prompts, within=120)
        except NoAnswer:
            with self._lock:
                self.unanswered += 1
            return
        with self._lock:
            self.accepted.update(jobs)
            self.batches.add(batch)
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0, 5))
            with suppress(NoAnswer):
                insist(self._stack, "DELETE", f"/{batch}", below="batches")

    def _is_behind(self) -> bool:
        """Whether more is open than can be worked off in the end."""
        with suppress(psycopg.OperationalError):
            open_jobs = "SELECT count(*) FROM videos_job WHERE status IN ('pending', 'processing')"
            return bool(self._stack.ask(open_jobs)[0][0] > _MAX_OPEN)
        return False

    def _regret(self, job: str, chance: random.Random) -> None:
        time.sleep(chance.uniform(0, 3))
        with suppress(NoAnswer):
            insist(self._stack, "DELETE", f"/{job}")

    def _retry_one(self, chance: random.Random) -> None:
        with suppress(NoAnswer):
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

    # What is done to the deployment.

    def _strikes(self, pause: tuple[float, float]) -> Callable[[], None]:
        """A function that waits and strikes: each kind of blow comes once before any comes again."""
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("blow_")]
        left: list[Callable[[], None]] = []

        def strike() -> None:
            self._ends.wait(self._chance.uniform(*pause))
            if not left:
                left.extend(kinds)
                self._chance.shuffle(left)
            blow = left.pop()
            self.blows[blow.__name__.removeprefix("blow_")] += 1
            blow()
            self.ended.update(self._stack.mend())

        return strike

    def _kill(self, name: str) -> None:
        self.kills += 1
        self._stack.kill(name)

    def _kill_child(self, name: str) -> None:
        self.kills += self._stack.kill_child(name, self._chance.randrange(16))

    def blow_worker_of_threads(self) -> None:
        self._kill("worker-threads")

    def blow_worker_with_children(self) -> None:
        self._kill("worker-prefork")

    def blow_child_of_the_worker(self) -> None:
        self._kill_child("worker-prefork")

    def blow_beat(self) -> None:
        self._kill(self._chance.choice(["beat-1", "beat-2"]))

    def blow_child_of_the_web_server(self) -> None:
        self._kill_child(WEB)

    def blow_web_server(self) -> None:
        self._kill(WEB)

    def blow_upstream(self) -> None:
        self._kill(SIMULATOR)
        _wait(self._mistreat, 20)

    def blow_postgresql_restarted(self) -> None:
        # "Immediate": no backend may end what it is doing.
        self.kills += 1
        self._stack.postgresql.stop(signal.SIGQUIT)
        self._stack.postgresql.start()

    def blow_backends_terminated(self) -> None:
        self._stack.terminate_backends()

    def blow_redis_killed(self) -> None:
        self.kills += 1
        self._stack.redis.stop(signal.SIGKILL)
        self._ends.wait(self._chance.uniform(0, 2))
        self._stack.redis.start()

    def blow_redis_flushed(self) -> None:
        self._stack.flush_redis()

    def blow_redis_frozen(self) -> None:
        self._stack.redis.send(signal.SIGSTOP)
        self._ends.wait(_FROZEN_SECONDS)
        self._stack.redis.send(signal.SIGCONT)

    def blow_worker_frozen(self) -> None:
        frozen = self._stack.parts["worker-threads"].process
        frozen.send_signal(signal.SIGSTOP)
        # Not for as long as the lease and the whole reconciling window: that is what no promise covers.
        self._ends.wait(_FROZEN_SECONDS)
        frozen.send_signal(signal.SIGCONT)

    def _mistreat(self) -> bool:
        """Arms the upstream's faults, which it forgets when it is killed. True once it has them."""
        try:
            for fault in _UPSTREAM:
                self._stack.arm(**fault, seed=self._chance.randrange(1 << 30))
            url = f"{self._stack.settings['TAKEONE_URL']}/hooks/sora"
            self._stack.webhook(url, _SECRET)
        except requests.RequestException:
            return False
        return True


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < ends:
        time.sleep(0.3)
    return met


def summary(soak: Soak, books: Books) -> dict[str, Any]:
    """The run's figures."""
    settled = sorted(books.unknown_seconds)
    p99 = settled[min(len(settled) - 1, int(len(settled) * 0.99))] if settled else 0.0
    return {
        "accepted": len(soak.accepted),
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
        "ended_by_themselves": soak.ended.total(),
        "retried": soak.retried.total(),
        "unanswered": soak.unanswered,
        "batches": len(soak.batches),
        "batches_open": len(books.batches_open),
        "settled_usd": str(books.settled),
        "billed_usd": str(books.billed),
    }


def soak(folder: Path, *, seconds: float, seed: int, pause: tuple[float, float]) -> tuple[Soak, Books]:
    """One run on a deployment in this folder. Raises servers.Absent."""
    settings = {"SORA_WEBHOOK_SECRET": _SECRET, "SORA_BREAKER_FAILURES": "5"}
    with running(folder, settings, simulator=["--render-seconds", "1.5"]) as stack:
        run = Soak(stack, seed)
        return run, run.run(seconds, pause)


def main(arguments: Sequence[str]) -> int:
    """Runs as told and prints the line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="make soak", description="Asks for videos while everything breaks.")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    folder = Path(tempfile.mkdtemp(prefix="takeone-soak-"))
    print(f"Seed {options.seed}, {options.minutes:g} minutes, logs in {folder}", file=sys.stderr, flush=True)
    try:
        run, books = soak(folder, seconds=options.minutes * 60, seed=options.seed, pause=(1.0, 4.0))
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
