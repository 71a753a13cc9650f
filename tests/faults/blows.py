"""What is done to a deployment while its callers go on asking: each method that begins with `blow_`."""

import os
import random
import shutil
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from tests.faults.books import Period
from tests.faults.stack import SECOND, SIMULATOR, WEB, Stack
from tests.faults.waiting import wait
from upstreams.client.types import OPERATIONS

SECRET: Final = "whsec_c29hayBmb3IgbWludXRlcw=="
_FROZEN_SECONDS: Final = 3.0
# Longer than any lease: twice SORA_TIMEOUT, and two.
_LONG_FROZEN_SECONDS: Final = 8.0
_SLOW_CLIENTS: Final = 40
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
    {
        "operation": "retrieve",
        "fault": "altered",
        "set": {"expires_at": 1e300, "progress": -7},
        "share": 0.02,
    },
    {"operation": "webhook", "fault": "lost", "share": 0.1},
    {"operation": "webhook", "fault": "doubled", "share": 0.1},
    # What is made from another video.
    *({"operation": each, "fault": "created_then_drop", "share": 0.05} for each in OPERATIONS),
    *({"operation": each, "fault": "refuse", "share": 0.05} for each in OPERATIONS),
    *({"operation": each, "fault": "failed", "share": 0.03} for each in OPERATIONS),
)

_LIES: Final[tuple[dict[str, Any], ...]] = (
    {"operation": "content", "fault": "drip", "seconds": 1, "bytes": 100, "share": 0.03},
    {"operation": "list", "fault": "jumbled", "doubled": True, "share": 0.05},
    {"operation": "list", "fault": "jumbled", "shuffled": True, "share": 0.05},
    {"operation": "list", "fault": "jumbled", "omitted": 0.2, "share": 0.03},
    {"operation": "list", "fault": "jumbled", "bare": True, "share": 0.05},
    {"operation": "list", "fault": "altered", "set": {"created_at": 253402300799}, "share": 0.02},
    {"operation": "create", "fault": "reused_id", "share": 0.01},
)
_LONG: Final = {
    "blow_worker_frozen_longer_than_a_lease",
    "blow_web_child_frozen",
    "blow_postgresql_frozen",
    "blow_media_unmounted",
    "blow_bodies_that_are_never_finished",
    "blow_clock_of_the_upstream_stepped",
    "blow_backup_restored",
    "blow_upstream_without_its_memory",
}


class Blows:
    """Strikes at a deployment; the chance decides where and when."""

    def __init__(self, stack: Stack, chance: random.Random, *, lies: bool) -> None:
        """`lies`: what takes longer than a lease, and what the upstream says wrongly, comes as well."""
        self._lies = lies
        self._stack = stack
        self._chance = chance
        self._ends = threading.Event()
        self.blows: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        # When everything stood still for a reason that no worker could work round.
        self.outages: list[Period] = []
        self.kills = 0

    def _strikes(self, pause: tuple[float, float]) -> Callable[[], None]:
        """A function that waits and strikes: each kind of blow comes once before any comes again."""
        names = {name for name in dir(self) if name.startswith("blow_")}
        kinds = [getattr(self, name) for name in sorted(names if self._lies else names - _LONG)]
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
        wait(self._mistreat, 20)

    def blow_second_upstream(self) -> None:
        """Away for longer than its jobs would wait: the first one takes them."""
        if self._stack.second:
            self.kills += 1
            self._stack.parts[SECOND].kill()
            self._ends.wait(self._chance.uniform(1, 6))
            self._stack.start(SECOND)

    def blow_upstream_away(self) -> None:
        """The preferred one is away for a while: the second one takes its jobs."""
        if self._stack.second:
            self.kills += 1
            self._stack.parts[SIMULATOR].kill()
            self._ends.wait(self._chance.uniform(3, 8))
            self._stack.start(SIMULATOR)
            wait(self._mistreat, 20)

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

    def blow_worker_frozen_longer_than_a_lease(self) -> None:
        self._freeze(self._stack.processes("worker-prefork"), _LONG_FROZEN_SECONDS)

    def blow_web_child_frozen(self) -> None:
        children = sorted(self._stack.children(WEB))
        if children:
            self._freeze([self._chance.choice(children)], _LONG_FROZEN_SECONDS)

    def blow_postgresql_frozen(self) -> None:
        begun = datetime.now(UTC)
        self._freeze(self._stack.postgresql.processes(), _LONG_FROZEN_SECONDS)
        self.outages.append((begun, datetime.now(UTC)))

    def blow_media_unmounted(self) -> None:
        media = Path(self._stack.settings["TAKEONE_VAR"]) / "media"
        aside = media.with_name("media-aside")
        if not media.exists():
            return
        begun = datetime.now(UTC)
        media.rename(aside)
        self._ends.wait(_FROZEN_SECONDS)
        # Whatever was written meanwhile was written to the wrong place.
        assert not media.exists() or not any(media.rglob("*.mp4")), "kept where nothing was mounted"
        shutil.rmtree(media, ignore_errors=True)
        aside.rename(media)
        # Files that cannot be kept fill all places upstream.
        self.outages.append((begun, datetime.now(UTC)))

    def blow_bodies_that_are_never_finished(self) -> None:
        address = urlsplit(self._stack.settings["TAKEONE_URL"])
        head = b"POST /api/v1/videos HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        with ExitStack() as stack:
            for _ in range(_SLOW_CLIENTS):
                try:
                    client = socket.create_connection((str(address.hostname), address.port or 80), 2)
                except OSError:
                    continue
                stack.enter_context(client)
                client.sendall(head + b"Content-Length: 1000\r\n\r\n{")
            # Those who send what they promise are served all the same.
            assert wait(lambda: self._stack.is_healthy(), 10), "slow clients keep others from being served"

    def blow_clock_of_the_upstream_stepped(self) -> None:
        offset = self._chance.choice([-30.0, 0.0, 30.0])
        wait(lambda: self._stack.set_clock(offset), 20)

    def _freeze(self, processes: list[int], seconds: float) -> None:
        """SIGSTOP to all of these, and SIGCONT after so long."""
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, number)
            if number == signal.SIGSTOP:
                self._ends.wait(seconds)

    def _tell_the_truth(self) -> None:
        """Ends the upstream's faults until it is mistreated again."""
        with suppress(requests.RequestException, AssertionError):
            self._stack.disarm()

    def _mistreat(self) -> bool:
        """Arms the upstream's faults, which it forgets when it is killed. True once it has them."""
        try:
            for fault in (*_UPSTREAM, *(_LIES if self._lies else ())):
                self._stack.arm(**fault, seed=self._chance.randrange(1 << 30))
            url = f"{self._stack.settings['TAKEONE_URL']}/hooks/sora"
            self._stack.webhook(url, SECRET)
        except requests.RequestException:
            return False
        return True
