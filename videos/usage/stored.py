"""How many bytes of videos each owner has here, without adding up the jobs of a million.

`Job.stored_bytes` says how many bytes of a job are in its owner's sum. Whoever changes it inserts the
difference in the same transaction, so nobody waits for another.
"""

from collections.abc import Iterable
from typing import Any, Final

from django.conf import settings
from django.db import models, transaction
from django.db.models import Case, F, Sum, Value, When

from accounts.models import User
from accounts.ownership import owned_by
from videos.states import JobStatus

_TOGETHER: Final = 1000
# The jobs whose video is here. Of an older version its length may not be known.
_KEPT: Final = models.Q(status=JobStatus.COMPLETED, removed_at=None, file_size__isnull=False)


class StoredBytes(models.Model):
    """Bytes that came and went, by owner. The rows of an owner add up."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    bytes = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.owner_id}: {self.bytes:+}"


def stored_bytes(owner: User) -> int:
    """The bytes of the videos of an owner that are here, some seconds ago."""
    rows = owned_by(StoredBytes.objects.all(), owner)
    return max(0, rows.aggregate(bytes=Sum("bytes"))["bytes"] or 0)


def count_stored(jobs: "models.QuerySet[Any]", **fields: Any) -> int:
    """Has the sums say what is here of these jobs, whose rows are locked, and sets these fields of theirs as
    well. Returns how many there are."""
    here: Any = Case(
        When(_KEPT, then=F("file_size")), default=Value(0), output_field=models.BigIntegerField()
    )
    differences = jobs.order_by().values("owner").annotate(bytes=Sum(here - F("stored_bytes")))
    _add(differences.values_list("owner", "bytes"))
    return jobs.update(stored_bytes=here, **fields)


def forget_stored(jobs: "models.QuerySet[Any]") -> None:
    """Takes these jobs out of the sums: their videos go. Their rows are locked."""
    some = jobs.filter(stored_bytes__gt=0)
    _add(some.order_by().values("owner").annotate(bytes=-Sum("stored_bytes")).values_list("owner", "bytes"))
    some.update(stored_bytes=0)


def count_older(jobs: "models.QuerySet[Any]") -> int:
    """Has the sums say what is here of some jobs that an older version has counted. Returns of how many."""
    with transaction.atomic():
        older = jobs.filter(_KEPT, counted=True, stored_bytes=0, file_size__gt=0).order_by()
        rows = older.select_for_update(of=("self",), skip_locked=True)
        return count_stored(jobs.filter(pk__in=list(rows.values_list("pk", flat=True)[:_TOGETHER])))


def fold() -> int:
    """Makes one row of the rows of each owner that has several. Returns how many went."""
    several = StoredBytes.objects.values("owner").annotate(rows=models.Count("pk")).filter(rows__gt=1)
    gone = 0
    for owner in list(several.values_list("owner", flat=True)[:_TOGETHER]):
        with transaction.atomic():
            rows = StoredBytes.objects.filter(owner=owner).select_for_update(skip_locked=True)
            some = dict(rows.order_by("pk").values_list("pk", "bytes")[:_TOGETHER])
            if len(some) < 2:
                # Another process is at it.
                continue
            StoredBytes.objects.filter(pk__in=some).delete()
            StoredBytes.objects.create(owner_id=owner, bytes=sum(some.values()))
            gone += len(some) - 1
    return gone


def _add(changes: Iterable[tuple[int, int | None]]) -> None:
    StoredBytes.objects.bulk_create(
        StoredBytes(owner_id=owner, bytes=change) for owner, change in changes if change
    )
