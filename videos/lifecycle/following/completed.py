"""Records many completed renders by few statements."""

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from accounts.budgets import reservations
from upstreams.client.types import Video
from upstreams.clock import database_now
from upstreams.registry import Upstream
from videos.lifecycle.following.observe import rendered_fields, stated_cost
from videos.models import Job, JobEvent, Submission
from videos.models.event import Line
from videos.queue.wake import wake
from videos.signals import submission_moved
from videos.states import CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# Its own values, and what must not be found changed.
_UPDATE: Final = (
    f"UPDATE {Submission._meta.db_table} SET price = %s, expires_at = %s"  # noqa: S608
    " WHERE id = %s AND state = %s AND cost_state = %s"
)


def complete_together(found: Sequence[tuple[int, UUID, Video]], upstream: Upstream) -> set[int]:
    """Records completed renders by the keys of their submission and its job, and returns those keys of
    submissions.

    Only where nothing else happens to the job: of one that was cancelled or has no reservation, or where
    another one holds it, observe decides. So it does for all if this cannot be written.
    """
    if not found:
        return set()
    try:
        with transaction.atomic(durable=True):
            return _complete({pk: video for pk, _, video in found}, [job for _, job, _ in found], upstream)
    except Exception as error:
        logger.warning("Completed renders are recorded one by one: %s", error)
        return set()


def _complete(videos: Mapping[int, Video], jobs: Sequence[UUID], upstream: Upstream) -> set[int]:
    # Here and below in one order, as whoever locks several rows.
    free = Job.objects.select_for_update(of=("self",), skip_locked=True)
    locked = free.filter(pk__in=jobs).order_by("pk")
    processing = {job.pk: job for job in locked if job.status == JobStatus.PROCESSING}
    rows = list(
        Submission.objects.select_related("provider")
        .filter(
            pk__in=videos,
            job__in=list(processing),
            state=SubmissionState.RENDERING,
            cost_state=CostState.RESERVED,
            reservation__isnull=False,
        )
        .order_by("pk")
    )
    if not rows:
        return set()
    now = database_now()
    for row in rows:
        video = videos[row.pk]
        row.job = processing[row.job_id]
        charged = stated_cost(upstream, video)
        row.price = row.price if charged is None else charged
        row.expires_at = video.expires_at
    _write(rows, now)
    reservations.settle_all([(row.reservation_id, row.price) for row in rows if row.reservation_id])
    JobEvent.append(now, *(_line(row) for row in rows))
    for row in rows:
        row.state, row.cost_state = SubmissionState.RENDERED, CostState.SETTLED
        for name, value in rendered_fields(now).items():
            setattr(row, name, value)
        moved = partial(
            submission_moved.send_robust, Submission, submission=copy(row), before=SubmissionState.RENDERING
        )
        transaction.on_commit(moved)
    wake("dispatch")
    return {row.pk for row in rows}


def _write(rows: Sequence[Submission], now: datetime) -> None:
    """Writes the state rendered. Raises RuntimeError if one has left the state rendering."""
    time = connection.ops.adapt_datetimefield_value
    of_row: list[tuple[Any, ...]] = [(_amount(row.price), time(row.expires_at), row.pk) for row in rows]
    was = (SubmissionState.RENDERING.value, CostState.RESERVED.value)
    with connection.cursor() as cursor:
        cursor.executemany(_UPDATE, [(*values, *was) for values in of_row])
        if cursor.rowcount != len(rows):
            raise RuntimeError("a submission has changed under the lock of its job")
    Submission.objects.filter(pk__in=[row.pk for row in rows]).update(
        state=SubmissionState.RENDERED, cost_state=CostState.SETTLED, ended_at=None, **rendered_fields(now)
    )


def _amount(price: Decimal | None) -> Any:
    field = Submission._meta.get_field("price")
    return connection.ops.adapt_decimalfield_value(price, field.max_digits, field.decimal_places)


def _line(row: Submission) -> Line:
    """What its job's history says of it."""
    return Line(
        row.job,
        "submission",
        SubmissionState.RENDERING,
        SubmissionState.RENDERED,
        number=row.number,
        logged={"provider": row.provider.name},
    )
