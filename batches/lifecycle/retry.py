"""Retrying the failed jobs of a batch."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from django.db import transaction
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.budgets.reservations import reserve_all
from accounts.models import ApiKey
from batches.models import Batch
from videos.lifecycle.create import ensure_room
from videos.lifecycle.retry import reopened_fields, retry
from videos.models import Exclusion, Job
from videos.queue.wake import wake
from videos.routing.refit import FIELDS, fit_anew
from videos.states import LIVE, JobStatus, SubmissionState

_TOGETHER: Final = 500


class NothingFailed(APIException):
    """409: no job of the batch has failed."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "batch_not_retryable"
    default_detail = "Nothing of this batch has failed; only what failed is retried."


def retry_failed(batch: Batch, *, api_key: ApiKey | None = None) -> int:
    """Retries the failed jobs of a batch, all or none, and returns how many.

    Raises NothingFailed, Http404, and what videos.lifecycle.retry raises.
    """
    with transaction.atomic():
        # Not what its caller has deleted.
        failed = Job.objects.filter(group=batch.pk, status=JobStatus.FAILED, deleted_at=None)
        jobs = list(failed.select_for_update(of=("self",)).select_related("owner").order_by("id"))
        if not jobs:
            raise NothingFailed
        # Before any money: the order in which the retry of one job takes its locks.
        if Batch.lock(batch.pk) is None:
            # It was archived in this moment.
            raise Http404
        # What may go on with what was paid is looked at one by one.
        begun = set(failed.filter(submissions__state__in=LIVE).values_list("pk", flat=True)) | set(
            failed.filter(
                submissions__state=SubmissionState.GIVEN_UP,
                submissions__upstream_id__isnull=False,
                submissions__id_reused=False,
            ).values_list("pk", flat=True)
        )
        for job in jobs:
            if job.pk in begun:
                retry(job, api_key=api_key)
        _retry_anew([job for job in jobs if job.pk not in begun], api_key)
        wake("submit")
    return len(jobs)


def _retry_anew(jobs: Sequence[Job], api_key: ApiKey | None) -> None:
    """Those of which nothing runs: each will be sent, and paid, again."""
    if not jobs:
        return
    owner = jobs[0].owner
    prices = [fit_anew(job) for job in jobs]
    at_price: dict[Decimal | None, list[Job]] = defaultdict(list)
    for job, price, reservation in zip(jobs, prices, reserve_all(owner, api_key, prices), strict=True):
        job.reservation = reservation
        at_price[price].append(job)
    ensure_room(owner, len(jobs))
    for price, alike in at_price.items():
        # Some hundred at a time: a statement names each of them, and databases bound what one may name.
        for start in range(0, len(alike), _TOGETHER):
            Job.move_together(
                alike[start : start + _TOGETHER],
                JobStatus.PENDING,
                detail={"by": "batch"},
                estimated_cost=price,
                api_key=api_key,
                **reopened_fields(),
            )
    Exclusion.objects.filter(job__in=jobs).delete()
    Job.objects.bulk_update(jobs, ["reservation", *FIELDS], batch_size=_TOGETHER)
