"""Jobs that nobody answers for are held: those of a deactivated account, and of a key that was revoked.

Jobs of a revoked key are marked as held by the claims that meet them, so that no later claim reads past them.
An account's jobs are held as long as it is deactivated: its lanes are left out as a whole. A key that merely
expired holds nothing: its jobs were asked for while it was valid.
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
    """The revoked keys that hold some of these jobs."""
    keys = {job.api_key_id for job in jobs if job.api_key_id is not None}
    revoked = ApiKey.objects.filter(pk__in=keys, revoked_at__isnull=False, jobs_released_at=None)
    return set(revoked.values_list("pk", flat=True)) if keys else set()


def hold_some(waiting: QuerySet[Job], api_key_id: int) -> None:
    """Marks some of a lane's jobs that were asked for with a revoked key. Under the provider's lock.

    Skips rows that somebody else has locked: it must not wait for them.
    """
    theirs = waiting.filter(api_key=api_key_id).select_for_update(skip_locked=True, of=("self",))
    pks: list[UUID] = list(theirs.values_list("pk", flat=True)[:_TOGETHER])
    Job.objects.filter(pk__in=pks).update(held=True)


def release_jobs(sender: Any, key: ApiKey, **_: Any) -> None:
    """An operator answers for a revoked key's jobs: they are sent. Receives accounts.jobs_released."""
    held = Job.objects.filter(api_key=key, status=JobStatus.PENDING, held=True)
    while True:
        with transaction.atomic():
            some = list(held.select_for_update(of=("self",)).order_by("pk").values_list("pk")[:_TOGETHER])
            Job.objects.filter(pk__in=[pk for (pk,) in some]).update(held=False)
            wake("submit")
        if not some:
            return
