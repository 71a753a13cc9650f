"""What the database knows about workers, beat and the upstream, so that /ready names only the cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings

from upstreams.breaker import is_tripped
from upstreams.clock import database_now
from upstreams.models import Provider
from videos.models import Heartbeat
from videos.queue.heartbeats import STALE_AFTER, WORKERS
from videos.reconciliation.restored.books import BEHIND

# Longer than STALE_AFTER with all that is reported late: of two that fall silent because of one, the other is
# noticed first.
IDLE_AFTER: Final = timedelta(seconds=20)
# The time that a worker needs to notice a silent upstream: until it asks, and the answer.
_CONTACT_SLACK_SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong and since when; empty if nothing is."""

    problem: str = ""
    since: datetime | None = None


FINE: Final = Finding()


@dataclass(frozen=True, slots=True)
class Work:
    """The rows about the work, read at `now` by the database's clock."""

    now: datetime
    heartbeats: dict[str, Heartbeat]
    # Of each configured upstream that has one, in their order.
    providers: Sequence[Provider]

    def worker(self, *, broker_is_fine: bool) -> Finding:
        """Whether a worker does tasks.

        If nobody publishes tasks, or the broker hands none out, that is not the worker's fault.
        """
        rows = self._of(WORKERS)
        if not rows:
            return Finding("no worker has ever reported")
        if any(self._fresh(row.worked_at) for row in rows):
            return FINE
        if not any(self._fresh(row.alive_at) for row in rows):
            return Finding("no worker runs", max(row.seen_at for row in rows))
        fed = self._has_work_command() or (broker_is_fine and self._beat_has_long_published())
        last = max((row.worked_at for row in rows if row.worked_at), default=None)
        if fed and (last is None or self.now - last > IDLE_AFTER):
            return Finding("a worker runs and does no task", last)
        return FINE

    def beat(self, *, broker_well_for: float) -> Finding:
        """Whether beat publishes. `manage.py work` needs no beat."""
        if self._has_work_command():
            return FINE
        beat = self.heartbeats.get(Heartbeat.Role.BEAT)
        if beat is None:
            return Finding("beat has never reported")
        if not self._fresh(beat.alive_at):
            return Finding("beat does not run", beat.seen_at)
        silent = beat.worked_at is None or self.now - beat.worked_at > IDLE_AFTER
        # A broker that is down, or has just come back, explains it.
        if silent and broker_well_for > IDLE_AFTER.total_seconds():
            return Finding("beat publishes nothing", beat.worked_at)
        return FINE

    def sora_clients(self) -> dict[str, Finding]:
        """For each upstream, whether jobs are sent to it and it answers.

        Silence counts only while a worker is known to run, and not while the upstream has asked us to wait.
        """
        return {provider.name: self._sora_client(provider) for provider in self.providers}

    def _sora_client(self, provider: Provider) -> Finding:
        if provider.stopped_at is not None:
            behind = provider.stop_reason.startswith(BEHIND)
            return Finding(f"stopped: {BEHIND}" if behind else "stopped by an operator", provider.stopped_at)
        if provider.unrecognized_at is not None:
            problem = "it does not know our videos, and may be another account or server"
            return Finding(problem, provider.unrecognized_at)
        if provider.paused_at is not None:
            return Finding("paused, because the upstream refuses our key or address", provider.paused_at)
        if is_tripped(provider):
            problem = f"{provider.failures} creates in a row have failed, and one is tried at a time"
            return Finding(problem)
        # It asked us to wait with the list, so its silence is expected.
        if provider.list_backoff_until is not None and provider.list_backoff_until > self.now:
            return FINE
        allowed = timedelta(seconds=settings.SORA_CONTACT_SECONDS + _CONTACT_SLACK_SECONDS)
        worked = self._worked_between()
        if worked is None:
            return FINE
        asked_since, asked_until = worked
        resumed = provider.list_backoff_until or asked_since
        silent_since = max(asked_since, resumed, provider.answered_at or asked_since)
        if asked_until - silent_since > allowed:
            return Finding("the upstream gives no usable answer", provider.answered_at or silent_since)
        return FINE

    def _worked_between(self) -> tuple[datetime, datetime] | None:
        """Since when a worker has worked without a gap, and until when that is known."""
        rows = [row for row in self._of(WORKERS) if row.worked_at and row.working_since]
        if not rows:
            return None
        last = max(rows, key=lambda row: row.worked_at or row.alive_at)
        assert last.working_since is not None
        assert last.worked_at is not None
        beat = self.heartbeats.get(Heartbeat.Role.BEAT)
        if last.role == Heartbeat.Role.WORK or beat is None or beat.worked_at is None:
            return last.working_since, last.worked_at
        # Without beat, no worker asks.
        return last.working_since, min(last.worked_at, beat.worked_at)

    def _beat_has_long_published(self) -> bool:
        beat = self.heartbeats.get(Heartbeat.Role.BEAT)
        if beat is None or beat.working_since is None or not self._beat_publishes():
            return False
        return self.now - beat.working_since > IDLE_AFTER

    def _beat_publishes(self) -> bool:
        beat = self.heartbeats.get(Heartbeat.Role.BEAT)
        return beat is not None and self._fresh(beat.worked_at)

    def _has_work_command(self) -> bool:
        row = self.heartbeats.get(Heartbeat.Role.WORK)
        return row is not None and self._fresh(row.alive_at)

    def _fresh(self, at: datetime | None) -> bool:
        return at is not None and self.now - at <= STALE_AFTER

    def _of(self, roles: Sequence[str]) -> list[Heartbeat]:
        return [self.heartbeats[role] for role in roles if role in self.heartbeats]


def read_work(names: Sequence[str]) -> Work:
    """Reads the rows, in three statements however many jobs there are."""
    heartbeats = {row.role: row for row in Heartbeat.objects.all()}
    rows = {row.name: row for row in Provider.objects.filter(name__in=names)}
    return Work(database_now(), heartbeats, [rows[name] for name in names if name in rows])
