"""The dispatch: finds what needs attention now, and the task for it."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.db.models import BooleanField, Exists, F, Q
from django.db.models.expressions import RawSQL

from api.statements.compiled import Compiled
from upstreams import registry
from upstreams.breaker import probe_after, respecting_retry_after
from upstreams.changes import Block, log_unblocked
from upstreams.client import errors
from upstreams.clock import in_database
from upstreams.models import Call, Provider
from upstreams.registry import Upstream
from videos.lifecycle.expiry import give_up_expired
from videos.lifecycle.following.sweep import can_sweep, swept_by
from videos.lifecycle.outcomes import expire_leases
from videos.lifecycle.working_time import record_working
from videos.models import Job, Submission
from videos.queue.attend import Due, due_rows
from videos.queue.occupancy import occupying
from videos.reconciliation.audit import is_audit_due
from videos.reconciliation.restored.identity import RECHECK_SECONDS, recheck
from videos.states import LIVE, JobStatus

logger = logging.getLogger(__name__)

# Messages of one kind in a dispatch, so that several workers do it side by side. Each takes what it finds.
_MAX_ATTENDERS = 4
_MAX_SUBMITTERS = 4


def _are(column: str, values: Iterable[str]) -> RawSQL:
    """The condition with its values in the statement. With parameters, a plan that is made beforehand uses no
    index that is only of such rows."""
    listed = ", ".join(f"'{value}'" for value in sorted(values))
    return RawSQL(f"{column} IN ({listed})", [], output_field=BooleanField())  # noqa: S611 - our own states


# What may need attention. Each has an index of its own.
_open: Final = Compiled(
    lambda: Provider.objects.order_by("pk").values_list(
        Exists(Job.objects.filter(_are("status", [JobStatus.PENDING]))),
        Exists(Submission.objects.filter(_are("state", LIVE))),
        Exists(Submission.objects.filter(due_at__isnull=False)),
    )[:1]
)


@dataclass(frozen=True, slots=True)
class Work:
    """A task of videos.tasks that is due."""

    task: str
    # The name of the provider.
    provider: str = ""
    # Of the rows to attend to.
    kind: Due | None = None
    # Tells equal pieces of work apart that may run side by side.
    number: int = 0

    @property
    def arguments(self) -> dict[str, str]:
        """The arguments of the task."""
        return {"provider": self.provider} | ({} if self.kind is None else {"kind": self.kind.value})


def all_due_work() -> list[Work]:
    """Judges expired leases and deadlines, and lists what is due at each upstream. Calling it twice is
    harmless, because a worker claims work before it does it."""
    record_working()
    if not _is_anything_open():
        return [work for upstream in registry.configured() for work in _upkeep(upstream.provider())]
    expire_leases()
    give_up_expired()
    return [work for upstream in registry.configured() for work in due_work(upstream)]


def _is_anything_open() -> bool:
    """Whether there is a job or submission that may need attention. If not, one statement shows it."""
    found = _open.rows()
    # Before the first provider has its row, nothing is said.
    return not found or any(found[0])


def due_work(upstream: Upstream) -> list[Work]:
    """What is due at one upstream."""
    provider = upstream.provider()
    if provider.unrecognized_at is not None:
        # What it says counts for nothing.
        return _upkeep(provider)
    return _upkeep(provider) + _submitting(upstream, provider) + _attending(upstream, provider)


def _upkeep(provider: Provider) -> list[Work]:
    """What is due even if there is no job."""
    if provider.unrecognized_at is not None:
        return [Work("probe", provider=provider.name)]
    probe = [Work("probe", provider=provider.name)] if provider.paused_at is not None else []
    return probe + ([Work("audit", provider=provider.name)] if is_audit_due(provider) else [])


def _submitting(upstream: Upstream, provider: Provider) -> list[Work]:
    work: list[Work] = []
    if (
        provider.takes_creates()
        and Job.objects.filter(status=JobStatus.PENDING, due_at__lte=in_database()).exists()
    ):
        # A message per free slot, so that several workers submit side by side.
        free = upstream.concurrency - occupying().filter(provider=provider).count()
        work += [
            Work("submit", provider=provider.name, number=number)
            for number in range(min(free, _MAX_SUBMITTERS))
        ]
    swept = swept_by(upstream, provider).filter(due_at__lte=in_database())
    if swept.exists() and can_sweep(upstream, provider):
        work.append(Work("sweep", provider=provider.name))
    return work


def _attending(upstream: Upstream, provider: Provider) -> list[Work]:
    """Messages for rows that are due, first of the kind whose first row expires first: a slot that is freed
    goes to the first message that comes."""
    first: list[tuple[datetime, datetime, list[Work]]] = []
    for kind in Due:
        found = due_rows(upstream, provider, kind).values_list("expires_at", "due_at")[:_MAX_ATTENDERS]
        work = [Work("attend", provider.name, kind, number) for number in range(len(found))]
        if work:
            expires_at, due_at = found[0]
            assert due_at is not None
            first.append((expires_at or datetime.max.replace(tzinfo=UTC), due_at, work))
    return [each for _, _, work in sorted(first, key=lambda each: each[:2]) for each in work]


def probe(upstream: Upstream) -> None:
    """Probes a paused or unrecognized provider, if that is due."""
    provider = upstream.provider()
    if provider.backoff_seconds(Call.LIST):
        return
    blocked = Q(paused_at__isnull=False) | Q(unrecognized_at__isnull=False)
    leased = Provider.objects.filter(blocked, pk=provider.pk, probe_due_at__lte=in_database()).update(
        probe_due_at=in_database(upstream.lease)
    )
    if not leased:
        return
    if provider.paused_at is not None:
        _probe_paused(provider, upstream)
    if provider.unrecognized_at is not None:
        try:
            recheck(upstream)
        except errors.SoraError as error:
            logger.warning("%s could not be asked whether it knows us: %s", provider, error)
        Provider.objects.filter(pk=provider.pk, unrecognized_at__isnull=False).update(
            probe_due_at=in_database(RECHECK_SECONDS)
        )


def _probe_paused(provider: Provider, upstream: Upstream) -> None:
    try:
        with respecting_retry_after(upstream, Call.LIST):
            upstream.client.probe()
    except errors.SoraError as error:
        if _says_nothing_of_our_key(error):
            _resume(provider, "a probe says nothing about our key, so one job is tried")
            return
        logger.warning("%s stays paused: %s", provider.name, error)
        Provider.objects.filter(pk=provider.pk).update(
            failures=F("failures") + 1, probe_due_at=in_database(probe_after(provider))
        )
    else:
        _resume(provider, "a probe succeeded")


def _says_nothing_of_our_key(error: errors.SoraError) -> bool:
    """Whether the upstream has no list, or lets nobody like us look at it.

    Then only a create shows whether it takes ours. One that is refused is not paid, and each further refusal
    makes the next one come later (probe_after).
    """
    return isinstance(error, errors.NotFound | errors.Rejected) or getattr(error, "status", None) == 403


def _resume(provider: Provider, why: str) -> None:
    logger.warning("%s is sent creates again: %s.", provider.name, why)
    Provider.objects.filter(pk=provider.pk).update(paused_at=None, pause_reason="", probe_due_at=None)
    log_unblocked(provider.name, Block.PAUSED, why)
