"""The dispatch: finds what needs attention now, and the task for it."""

import logging
from dataclasses import dataclass

from django.db.models import F, Q

from upstreams import registry
from upstreams.breaker import probe_after, respecting_retry_after
from upstreams.changes import Block, log_unblocked
from upstreams.client import errors
from upstreams.clock import in_database
from upstreams.models import Call, Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import drop
from videos.lifecycle.expiry import give_up_expired
from videos.lifecycle.following.poll import ask_late
from videos.lifecycle.following.sweep import can_sweep, swept_by
from videos.lifecycle.outcomes import expire_leases
from videos.lifecycle.working_time import record_working
from videos.models import Job, Submission
from videos.queue.isolation import isolated
from videos.queue.occupancy import occupying
from videos.queue.waiting import must_wait
from videos.reconciliation.audit import audit_due
from videos.reconciliation.identity import RECHECK_SECONDS, recheck
from videos.reconciliation.reconcile import reconcile
from videos.results.refetch import refetch
from videos.results.store import store
from videos.states import JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# Of all upstreams together: what finds no slot is a message all the same, and more of them in a second would
# keep the others waiting.
_MAX_ATTENDED = 200
_MAX_SUBMITTERS = 4


@dataclass(frozen=True, slots=True)
class Work:
    """A task of videos.tasks that is due, and the submission that it is for, if any."""

    task: str
    submission_id: int | None = None
    # The name of the provider, of what concerns all of it.
    provider: str = ""
    # Tells equal pieces of work apart that may run side by side.
    number: int = 0

    @property
    def arguments(self) -> dict[str, int | str]:
        """The arguments of the task."""
        if self.submission_id is not None:
            return {"submission_id": self.submission_id}
        return {"provider": self.provider}


def all_due_work() -> list[Work]:
    """Judges expired leases and deadlines, and lists what is due at each upstream. Calling it twice is
    harmless, because a worker claims work before it does it."""
    record_working()
    expire_leases()
    give_up_expired()
    return [work for upstream in registry.configured() for work in due_work(upstream)]


def due_work(upstream: Upstream) -> list[Work]:
    """What is due at one upstream."""
    provider = upstream.provider()
    mine = Submission.objects.filter(provider=provider)
    work: list[Work] = []
    if provider.unrecognized_at is not None:
        # What it says counts for nothing.
        return [Work("probe", provider=provider.name)]
    if provider.paused_at is not None:
        work.append(Work("probe", provider=provider.name))
    elif (
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
    if audit_due(provider).exists():
        work.append(Work("audit", provider=provider.name))
    due = mine.filter(due_at__lte=in_database()).exclude(state=SubmissionState.SENDING)
    attended = due.exclude(pk__in=swept).exclude(must_wait(provider))
    # What expires first goes first: files among themselves, and before what has no end.
    ordered = attended.order_by(F("expires_at").asc(nulls_last=True), "due_at").values_list("pk", flat=True)
    most = max(1, _MAX_ATTENDED // len(registry.configured()))
    work += [Work("advance", pk) for pk in ordered[:most]]
    return work


def advance(submission: Submission, upstream: Upstream) -> None:
    """Does what is due for one submission, unless the upstream is unrecognized or asked to wait with that
    kind of call."""
    provider = upstream.provider()
    if provider.unrecognized_at is not None:
        return
    if Submission.objects.filter(must_wait(provider), pk=submission.pk).exists():
        return
    with isolated(submission):
        _advance(submission, upstream)


def _advance(submission: Submission, upstream: Upstream) -> None:
    match submission.state:
        case SubmissionState.UNKNOWN:
            reconcile(submission, upstream)
        case SubmissionState.RENDERED if submission.job.status == JobStatus.CANCELLED:
            drop(submission, upstream)
        case SubmissionState.RENDERED:
            store(submission, upstream)
        case SubmissionState.STORED:
            refetch(submission, upstream)
        case SubmissionState.DROPPING:
            drop(submission, upstream)
        case SubmissionState.RENDERING if (
            submission.job.status == JobStatus.CANCELLED and upstream.dialect.cancels
        ):
            drop(submission, upstream)
        case SubmissionState.GIVEN_UP:
            ask_late(submission, upstream)


def is_fetch(submission: Submission) -> bool:
    """Whether the due work is to fetch a file, which may take minutes."""
    if submission.state == SubmissionState.STORED:
        return True
    return submission.state == SubmissionState.RENDERED and submission.job.status != JobStatus.CANCELLED


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
