"""Held jobs: jobs of a deactivated account or a revoked key are not sent.

A claim that meets jobs of a revoked key marks them as held, so that no later claim reads them again. The jobs
of an account are held while it is deactivated: its lanes are skipped as a whole. An expired key holds
nothing, because its jobs were asked for while it was valid.
"""

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models import ApiKey, User
from videos.models import Job
from videos.queue.wake import wake
from videos.states import JobStatus

_TOGETHER: Final = 500

# Of a submission's job: somebody answers for it. Part of the last check before a POST.
ANSWERED_FOR: Final = Q(job__owner__is_active=True) & (
    Q(job__api_key=None) | Q(job__api_key__revoked_at=None) | Q(job__api_key__jobs_released_at__isnull=False)
)


def deactivated(owners: Iterable[int]) -> set[int]:
    """Those of these accounts that are deactivated."""
    return set(User.objects.filter(pk__in=set(owners), is_active=False).values_list("pk", flat=True))


def holding_keys(jobs: Iterable[Job]) -> set[int]:
    """The revoked keys because of which some of these jobs are held."""
    keys = {job.api_key_id for job in jobs if job.api_key_id is not None}
    revoked = ApiKey.objects.filter(pk__in=keys, revoked_at__isnull=False, jobs_released_at=None)
    return set(revoked.values_list("pk", flat=True)) if keys else set()


def hold_some(waiting: QuerySet[Job], api_key_id: int) -> None:
    """Marks some of a lane's jobs that were asked for with a revoked key. Under the provider's lock.

    Skips locked rows, because it must not wait for them.
    """
    theirs = waiting.filter(api_key=api_key_id).select_for_update(skip_locked=True, of=("self",))
    pks: list[UUID] = list(theirs.values_list("pk", flat=True)[:_TOGETHER])
    Job.objects.filter(pk__in=pks).update(held=True)


def release_jobs(sender: Any, key: ApiKey, **_: Any) -> None:
    """Releases the held jobs of a revoked key, so that they are sent. Receives accounts.jobs_released."""
    held = Job.objects.filter(api_key=key, status=JobStatus.PENDING, held=True)
    while True:
        with transaction.atomic():
            some = list(held.select_for_update(of=("self",)).order_by("pk").values_list("pk")[:_TOGETHER])
            Job.objects.filter(pk__in=[pk for (pk,) in some]).update(held=False)
            wake("submit")
        if not some:
            return
