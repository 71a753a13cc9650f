"""Erases an account, step by step. It can be begun again after a crash."""

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from accounts.models import ApiKey, Budget, IdempotencyKey, Session, User
from upstreams.clock import database_now
from videos.erasure import blanks
from videos.erasure.archives import archived, erase_archived
from videos.models import Exclusion, Group, Job, JobEvent, JobReference, ReferenceImage, Submission
from videos.results.media import MediaUnusable, removal_problem
from videos.retention.removal import remove_results
from videos.retention.stored import names_of
from videos.signals import account_erased
from videos.states import JOB_OPEN, LIVE
from videos.stores.media import delete_files
from videos.usage.stored import stored_bytes

logger = logging.getLogger(__name__)

_TOGETHER: Final = 200


class NotErasable(Exception):
    """Something has to be done first; says what."""


class Extent(NamedTuple):
    """How much is erased."""

    jobs: int
    archived: int
    pictures: int
    keys: int
    bytes: int


def extent(user: User) -> Extent:
    """How much would be erased."""
    return Extent(
        jobs=Job.objects.filter(owner=user).count(),
        archived=archived(user.pk),
        pictures=ReferenceImage.objects.filter(owner=user).count(),
        keys=ApiKey.objects.filter(owner=user).count(),
        bytes=stored_bytes(user),
    )


def require_erasable(user: User) -> None:
    """Raises NotErasable while it can ask, something of it is under way, or an operator holds a result."""
    name = user.username
    if user.is_active:
        raise NotErasable(
            f"{name} is active: `manage.py cancel --owner {name} --deactivate --apply` closes the account, "
            "and cancels its jobs."
        )
    if count := Job.objects.filter(owner=user, status__in=sorted(JOB_OPEN)).count():
        raise NotErasable(f"{count} jobs are open: `manage.py cancel --owner {name} --apply` cancels them.")
    if count := Submission.objects.filter(job__owner=user, state__in=sorted(LIVE)).count():
        raise NotErasable(
            f"{count} attempts have not ended upstream, and what they cost is not known. Try again later; "
            "`manage.py undecided` lists those that wait for you."
        )
    held = Job.objects.filter(owner=user, on_hold=True, removed_at=None).order_by("pk")
    if some := [str(pk) for pk in held.values_list("pk", flat=True)[:5]]:
        raise NotErasable(
            f"Results are on hold: {', '.join(some)}. `manage.py hold_results --release` releases them."
        )


def erase(user: User, *, keep_results: bool) -> Extent:
    """Erases what `require_erasable` allows. Raises OSError if files cannot be reached; then some is erased,
    and the rest is when it is begun again."""
    require_erasable(user)
    if problem := removal_problem():
        # The archive is in the folder as well.
        raise MediaUnusable(problem)
    found = extent(user)
    last = UUID(int=0)
    jobs = Job.objects.filter(owner=user).order_by("pk")
    while pks := list(jobs.filter(pk__gt=last).values_list("pk", flat=True)[:_TOGETHER]):
        last = pks[-1]
        if not keep_results:
            remove_results(pks, "erased")
            # Also those that could not be removed before.
            delete_files(names_of(Job.objects.filter(pk__in=pks)))
        _erase_jobs(pks)
    for image in ReferenceImage.objects.filter(owner=user):
        default_storage.delete(image.file)
        image.delete()
    account_erased.send(User, user=user)
    groups = Group.objects.filter(owner=user).values_list("pk", flat=True)
    erase_archived(user.pk, {str(pk) for pk in groups})
    _erase_person(user)
    logger.info("An account was erased: %d. Jobs: %d, and %d archived.", user.pk, found.jobs, found.archived)
    return found


def _erase_jobs(pks: Sequence[UUID]) -> None:
    with transaction.atomic():
        jobs = list(Job.objects.select_for_update(of=("self",)).filter(pk__in=pks).order_by("pk"))
        attempts = list(Submission.objects.filter(job__in=pks))
        now = database_now()
        for job in jobs:
            job.fitted, job.match_key = blanks.priced(job.fitted), blanks.match_key(job.pk)
            job.updated_at = now
            for field, blank in blanks.JOB.items():
                setattr(job, field, blank)
        for attempt in attempts:
            attempt.request = blanks.priced(attempt.request)
            attempt.match_key = blanks.match_key(attempt.job_id)
            for field, blank in blanks.SUBMISSION.items():
                setattr(attempt, field, blank)
        Job.objects.bulk_update(jobs, [*blanks.JOB, "fitted", "match_key", "updated_at"])
        Submission.objects.bulk_update(attempts, [*blanks.SUBMISSION, "request", "match_key"])
        JobEvent.objects.filter(job__in=pks).delete()
        JobReference.objects.filter(job__in=pks).delete()
        Exclusion.objects.filter(job__in=pks).delete()


@transaction.atomic
def _erase_person(user: User) -> None:
    """The row stays, because sums of money refer to it."""
    IdempotencyKey.objects.filter(owner=user).delete()
    Session.objects.filter(user=user).delete()
    keys = ApiKey.objects.filter(owner=user)
    keys.filter(revoked_at=None).update(revoked_at=timezone.now())
    keys.update(name="erased")
    for rows in (User.objects.filter(pk=user.pk), keys, Budget.objects.filter(owner=user)):
        named = LogEntry.objects.filter(
            content_type=ContentType.objects.get_for_model(rows.model),
            object_id__in=[str(pk) for pk in rows.values_list("pk", flat=True)],
        )
        named.update(object_repr="erased", change_message="")
    user.groups.clear()
    user.user_permissions.clear()
    user.username = f"erased-{user.pk}"
    user.first_name = user.last_name = user.email = ""
    user.is_active = user.is_staff = user.is_superuser = False
    user.last_login = None
    user.set_unusable_password()
    user.save()
