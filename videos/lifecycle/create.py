"""Creating a job."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.budgets.reservations import reserve
from accounts.models import ApiKey, Reservation, User
from upstreams.clock import database_now
from upstreams.offer import pricing
from upstreams.offer.fitting import fit, fitted_fields
from upstreams.offer.request import FittedRequest, VideoRequest
from upstreams.registry import Upstream
from videos.log_context import request_id
from videos.models import Group, Job, JobEvent
from videos.queue.wake import wake
from videos.states import JobStatus


class QueueFull(APIException):
    """429: this owner has reached its limit of waiting jobs."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = "queue_full"
    wait = 30.0

    def __init__(self, most: int) -> None:
        super().__init__(
            f"This account may have {most} waiting jobs, and would have more; wait, or cancel some."
        )
        self.extra = {"most": most}


def create(
    asked: VideoRequest,
    *,
    owner: User,
    api_key: ApiKey | None,
    upstream: Upstream,
) -> Job:
    """Accepts a job. When this returns, the job is pending and committed, and its price reserved.

    Raises ValidationError if fitting is strict and the upstream does not offer the request; QueueFull; and
    BudgetExceeded and PriceUnknown of accounts.budgets.reservations.
    """
    fitted = fit(asked, upstream.catalogue)
    with transaction.atomic():
        # Takes the owner's counters, so that its creates are counted one after the other.
        reservation = reserve(owner, api_key, price_of(fitted))
        ensure_queue_capacity(owner)
        request = ReservedRequest(asked, fitted, reservation)
        (job,) = accept_all([request], owner=owner, api_key=api_key, upstream=upstream, group=None)
        wake("submit")
    return job


@dataclass(frozen=True, slots=True)
class ReservedRequest:
    """What was asked and how it was fitted, with its reserved price. `ref` names it within its group."""

    asked: VideoRequest
    fitted: FittedRequest
    reservation: Reservation
    ref: str = ""


def price_of(fitted: FittedRequest) -> Decimal | None:
    """Dollars; None if the price is not listed."""
    sent = fitted.request
    return pricing.cost(sent.model, sent.size, sent.seconds)


def accept_all(
    requests: Iterable[ReservedRequest],
    *,
    owner: User,
    api_key: ApiKey | None,
    upstream: Upstream,
    group: Group | None,
) -> list[Job]:
    """Makes pending jobs, in the order of their ids. Called in the transaction that reserved their prices."""
    now = database_now()
    jobs = []
    for request in requests:
        asked, fitted = request.asked, request.fitted
        jobs.append(
            Job(
                owner=owner,
                api_key=api_key,
                group=group,
                ref=request.ref,
                prompt=asked.prompt,
                negative_prompt=asked.negative_prompt,
                duration=asked.duration,
                resolution=asked.resolution,
                aspect_ratio=asked.aspect_ratio,
                fps=asked.fps,
                seed=asked.seed,
                style=asked.style,
                model=asked.model,
                priority=fitted.priority,
                metadata=asked.metadata,
                request_id=request_id(),
                fitted=fitted_fields(fitted),
                adjustments=fitted.adjustments,
                match_key=upstream.dialect.match_key(fitted.request) or "",
                estimated_cost=price_of(fitted),
                reservation=request.reservation,
                due_at=now,
                created_at=now,
                asked_at=now,
                updated_at=now,
            )
        )
    # Ids of one process rise, and a group's list is in the order of its ids.
    for job, pk in zip(jobs, sorted(job.pk for job in jobs), strict=True):
        job.pk = pk
        # If the upstream echoes nothing, its videos cannot be compared, and attempts wait for each other
        # in vain.
        job.match_key = job.match_key or pk.hex
    Job.objects.bulk_create(jobs)
    JobEvent.record_together(jobs, "", JobStatus.PENDING, now)
    return jobs


def ensure_queue_capacity(owner: User, count: int = 1, *, besides: Job | None = None) -> None:
    """Raises QueueFull if the owner would have too many waiting jobs with so many more."""
    most = settings.MAX_QUEUED_JOBS
    if not most:
        return
    waiting = Job.objects.filter(owner=owner, status=JobStatus.PENDING)
    if besides is not None:
        waiting = waiting.exclude(pk=besides.pk)
    if waiting.count() + count > most:
        raise QueueFull(most)
