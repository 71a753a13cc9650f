"""Creating a job."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Count
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.budgets.reservations import draft
from accounts.idempotency import is_within_request
from accounts.models import ApiKey, Reservation, User
from api.statements.compiled import Compiled
from api.statements.inserts import insert
from upstreams import registry
from upstreams.clock import database_now
from upstreams.offer.fitting import fitted_fields
from upstreams.offer.request import FittedRequest, VideoRequest
from videos.log_context import request_id
from videos.models import Group, Job, JobEvent, JobReference
from videos.models.reference import ROLES
from videos.queue.wake import wake
from videos.states import JobStatus
from videos.usage.stored import stored_bytes

# So many creates of one owner may be under way together without going past a limit that is further away.
_AT_ONCE: Final = 100


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


class StorageFull(APIException):
    """409: the videos of this owner have reached their limit."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "storage_full"

    def __init__(self, stored: int) -> None:
        most = settings.RESULT_BYTES_MAX
        super().__init__(
            f"The videos of this account have {stored:,} bytes, and new ones are made below {most:,}; remove "
            "some with DELETE /api/v1/videos/{id}/content."
        )
        self.extra = {"storedBytes": stored, "most": most}


def create(
    asked: VideoRequest,
    *,
    owner: User,
    api_key: ApiKey | None,
) -> Job:
    """Accepts a job. When this returns, the job is pending and committed, and its price reserved.

    Raises ValidationError if no upstream has the model, or fitting is strict and none offers the request;
    QueueFull and StorageFull; and
    BudgetExceeded and PriceUnknown of accounts.budgets.reservations.
    """
    fitted = registry.configured().fit(asked)
    # An error within another transaction of the same request ends that as well.
    with transaction.atomic(savepoint=not is_within_request()):
        reservation = draft(owner, api_key, fitted.price)
        ensure_room(owner)
        request = ReservedRequest(asked, fitted, reservation)
        (job,) = accept_all([request], owner=owner, api_key=api_key, group=None)
        wake("submit")
    return job


@dataclass(frozen=True, slots=True)
class ReservedRequest:
    """What was asked and how it was fitted, with its price, which is counted.

    `ref` names it within its group. Of a single one, the reservation may still have to be inserted.
    """

    asked: VideoRequest
    fitted: FittedRequest
    reservation: Reservation
    ref: str = ""


def accept_all(
    requests: Iterable[ReservedRequest],
    *,
    owner: User,
    api_key: ApiKey | None,
    group: Group | None,
) -> list[Job]:
    """Makes pending jobs, in the order of their ids. Called in the transaction that reserved their prices."""
    now = database_now()
    requests = list(requests)
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
                size=asked.size,
                fps=asked.fps,
                seed=asked.seed,
                audio=asked.audio,
                extra=asked.extra,
                style=asked.style,
                model=fitted.model,
                strict=asked.strict,
                priority=fitted.priority,
                operation=asked.operation,
                source_job=None if asked.source is None else asked.source.job,
                metadata=asked.metadata,
                retain_for=asked.retain_for or (None if api_key is None else api_key.retain_for),
                request_id=request_id(),
                fitted=fitted_fields(fitted),
                adjustments=fitted.adjustments,
                upstream=fitted.upstream,
                match_key=fitted.match_key,
                estimated_cost=fitted.price,
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
    if len(jobs) == 1:
        (job,) = jobs
        unsaved = [each.reservation for each in requests if each.reservation.pk is None]
        insert(*unsaved, job, *JobEvent.drafts(jobs, JobStatus.PENDING, now))
    else:
        Job.objects.bulk_create(jobs)
        JobEvent.objects.bulk_create(JobEvent.drafts(jobs, JobStatus.PENDING, now))
    JobEvent.log_committed(jobs, JobStatus.PENDING)
    pictures = [
        JobReference(job=job, image_id=job.fitted[role], role=role)
        for job in jobs
        for role in ROLES
        if job.fitted[role]
    ]
    if pictures:
        JobReference.objects.bulk_create(pictures)
    return jobs


def ensure_room(owner: User, count: int = 1, *, besides: Job | None = None) -> None:
    """Raises StorageFull if the owner has too much here, and QueueFull if it would have too many waiting jobs
    with so many more."""
    if settings.RESULT_BYTES_MAX and (stored := stored_bytes(owner)) >= settings.RESULT_BYTES_MAX:
        raise StorageFull(stored)
    most = settings.MAX_QUEUED_JOBS
    if not most:
        return
    if besides is not None and besides.status == JobStatus.PENDING:
        count -= 1
    if _far_from(most, owner):
        return
    waiting = _count_waiting(owner)
    _last_counted[owner.pk] = time.monotonic(), waiting
    if waiting + count + _AT_ONCE > most:
        # Near the limit they are counted one after the other.
        User.objects.select_for_update(no_key=True).get(pk=owner.pk)
        if _count_waiting(owner) + count > most:
            raise QueueFull(most)


_waiting: Final = Compiled(
    lambda owner: (
        Job.objects.filter(owner=owner, status=JobStatus.PENDING)
        .order_by()
        .values("owner")
        .annotate(waiting=Count("pk"))
        .values_list("waiting")
    )
)


# When the waiting jobs of an owner were last counted by this process, and how many there were.
_last_counted: dict[int, tuple[float, int]] = {}
_COUNTED_FOR_SECONDS: Final = 0.5
# So many cannot be created, by all processes, in that time.
_FAR: Final = 5_000


def _far_from(most: int, owner: User) -> bool:
    """Whether an owner was so far from this limit just now that it need not be counted again."""
    counted_at, waiting = _last_counted.get(owner.pk, (-math.inf, 0))
    return waiting + _FAR < most and time.monotonic() - counted_at < _COUNTED_FOR_SECONDS


def _count_waiting(owner: User) -> int:
    return next((count for (count,) in _waiting.rows(owner=owner.pk)), 0)
