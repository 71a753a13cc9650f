"""A caller asks for a video."""

from django.conf import settings
from django.db import transaction
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.budgets import reserve
from accounts.models import ApiKey, User
from videos import pricing
from videos.clock import database_now
from videos.fitting import Asked, fit, fitted_fields
from videos.models import Job, JobEvent
from videos.states import JobStatus
from videos.upstream import Upstream
from videos.wake import wake


class QueueFull(APIException):
    """429: this owner has as many waiting jobs as it may."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = "queue_full"
    wait = 30.0

    def __init__(self, most: int) -> None:
        super().__init__(f"This account has {most} waiting jobs, which is the most; wait, or cancel some.")
        self.extra = {"most": most}


def create(
    asked: Asked,
    *,
    owner: User,
    api_key: ApiKey | None,
    upstream: Upstream,
    default_model: str = "",
) -> Job:
    """Accepts a job; it is pending and committed when this returns, and its price is set aside.

    Raises ValidationError where strict fitting finds something that the upstream does not offer, QueueFull,
    and BudgetExceeded and PriceUnknown of accounts.budgets.
    """
    fitted = fit(asked, upstream.dialect, default_model)
    request = fitted.request
    match_key = upstream.dialect.match_key(request)
    price = pricing.cost(request.model, request.size, request.seconds)
    with transaction.atomic():
        # Takes the owner's counters, so that its creates are counted one after the other.
        reservation = reserve(owner, api_key, price)
        leave_room(owner)
        now = database_now()
        job = Job.objects.create(
            owner=owner,
            api_key=api_key,
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
            fitted=fitted_fields(fitted),
            adjustments=fitted.adjustments,
            match_key=match_key or "",
            estimated_cost=price,
            reservation=reservation,
            due_at=now,
            created_at=now,
            asked_at=now,
            updated_at=now,
        )
        JobEvent.record(job, "job", "", JobStatus.PENDING, now)
        wake("submit")
    return job


def leave_room(owner: User, *, besides: Job | None = None) -> None:
    """Raises QueueFull where the owner has as many waiting jobs as it may, besides this one."""
    most = settings.MAX_QUEUED_JOBS
    if not most:
        return
    waiting = Job.objects.filter(owner=owner, status=JobStatus.PENDING)
    if besides is not None:
        waiting = waiting.exclude(pk=besides.pk)
    if waiting.count() >= most:
        raise QueueFull(most)
