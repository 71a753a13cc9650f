"""The answer of /ready: each part by name, and whether the required ones (READY_REQUIRES) are healthy."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings

from health import checks
from health.liveness import timestamp
from health.readiness.probe import Outcome, Probe
from health.readiness.work import FINE, Finding, Work
from videos.queue.heartbeats import STALE_AFTER


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests should be sent here, and the state of each part.

    A part is left out if the deployment has none, as broker and beat under `manage.py work`. It is also left
    out if nothing can be known about it, as about a worker while the database is down.
    """

    ready: bool
    checks: dict[str, str]

    def body(self) -> dict[str, Any]:
        """The answer's body."""
        return {"ready": self.ready, "checks": self.checks, "timestamp": timestamp(datetime.now(UTC))}


class Checker:
    """The checks of this process. They run side by side and have all answered after a second."""

    def __init__(self) -> None:
        self._repository: Probe[Work] = Probe("repository", lambda: checks.repository())
        self._broker: Probe[None] = Probe("broker", lambda: checks.broker())
        self._storage: Probe[None] = Probe("storage", lambda: checks.storage())
        self._mount: Probe[str] = Probe("mount", lambda: checks.mount())
        self._memory: Probe[None] = Probe("memory", lambda: checks.memory())
        self._lock = threading.Lock()
        # Since when this process has seen each problem that has no date of its own.
        self._first_seen: dict[str, datetime] = {}

    def readiness(self) -> Readiness:
        """Checks everything, or repeats the results of the last second."""
        probes = (self._repository, self._broker, self._storage, self._mount, self._memory)
        for probe in probes:
            probe.begin()
        repository = self._repository.outcome()
        broker = self._broker.outcome()
        found: dict[str, Finding | None] = {
            "repository": _finding(repository),
            **self._of_work(repository, broker),
            "storage": self._of_storage(),
            "memory": _finding(self._memory.outcome()),
        }
        unknown = {name for name, finding in found.items() if finding is None}
        said = {
            name: self._say(name, finding)
            for name in sorted(found, key=lambda name: checks.NAMES.index(name.partition(":")[0]))
            if (finding := found[name]) is not None
        }
        ready = all(
            name not in unknown and said.get(name, checks.HEALTHY) == checks.HEALTHY
            for name in settings.READY_REQUIRES
        )
        return Readiness(ready, said)

    def _of_work(self, repository: Outcome[Work], broker: Outcome[None]) -> dict[str, Finding | None]:
        found: dict[str, Finding | None] = {"soraClient": None, "worker": None}
        if checks.uses_broker():
            found |= {"broker": _finding(broker), "beat": None}
        if repository.value is None:
            return found
        work = repository.value
        # Workers and beat could not report while the database was down: nothing is known until they could
        # again.
        could_report = repository.well_for > STALE_AFTER.total_seconds()
        found |= _of_upstreams(work.sora_clients())
        found["worker"] = work.worker(broker_is_fine=not broker.problem) if could_report else FINE
        if "beat" in found:
            found["beat"] = work.beat(broker_well_for=broker.well_for) if could_report else FINE
        return found

    def _of_storage(self) -> Finding:
        # It asks the database as well. If that does not answer, the repository's check says so.
        not_mounted = self._mount.outcome().value
        return Finding(not_mounted) if not_mounted else _finding(self._storage.outcome())

    def _say(self, name: str, finding: Finding) -> str:
        with self._lock:
            if not finding.problem:
                self._first_seen.pop(name, None)
                return checks.HEALTHY
            since = finding.since or self._first_seen.setdefault(name, datetime.now(UTC))
        return f"unhealthy since {timestamp(since)}: {finding.problem}"


def _of_upstreams(found: dict[str, Finding]) -> dict[str, Finding]:
    """soraClient for all upstreams; and if there are several, one more for each by name.

    While one of several is healthy, jobs go there.
    """
    well = not found or FINE in found.values()
    together = {"soraClient": FINE if well else next(iter(found.values()))}
    if len(found) > 1:
        together |= {f"soraClient:{name}": finding for name, finding in found.items()}
    return together


def _finding(outcome: Outcome[Any]) -> Finding:
    return Finding(outcome.problem, outcome.since)


checker: Final = Checker()
