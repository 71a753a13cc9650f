"""Removing reservations that ended long ago. What they came to is counted."""

from typing import Final

from django.db import transaction
from django.db.models import Exists, OuterRef

from accounts.models import Reservation
from videos.models import Job, Submission
from videos.retention.archive import archived_before

_TOGETHER: Final = 1000


def forget_some() -> int:
    """Removes some reservations that ended before JOB_RETENTION_DAYS and belong to no job any more. Returns
    how many."""
    before = archived_before()
    if before is None:
        return 0
    with transaction.atomic():
        done = (
            Reservation.objects.filter(
                ~Exists(Job.objects.filter(reservation=OuterRef("pk"))),
                ~Exists(Submission.objects.filter(reservation=OuterRef("pk"))),
                made_on__lt=before.date(),
                counting=Reservation.Counting.COUNTED,
            )
            .exclude(state=Reservation.State.RESERVED)
            .order_by("pk")
            .select_for_update(of=("self",), skip_locked=True)
        )
        some = list(done.values_list("pk", flat=True)[:_TOGETHER])
        Reservation.objects.filter(pk__in=some).delete()
        return len(some)
