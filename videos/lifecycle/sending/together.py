"""Records many acceptances by few statements."""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.conf import settings
from django.db import connection, transaction

from upstreams.breaker import record_success
from upstreams.client.types import Video
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.backoff import poll_interval
from videos.lifecycle.outcomes import dated_within
from videos.models import Job, JobEvent, Submission
from videos.models.event import Line
from videos.reconciliation.compared import contradicts
from videos.signals import submission_moved
from videos.states import CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)

_Answer = tuple[Submission, Video]
# What a plain acceptance changes, and what it must not find changed: as outcomes.accept does it.
_UPDATE: Final = (
    f"UPDATE {Submission._meta.db_table} SET state = %s, upstream_id = %s, upstream_created_at = %s,"  # noqa: S608
    " accepted_at = %s, seen_at = %s, due_at = %s, give_up_at = %s, ended_at = NULL"
    " WHERE id = %s AND state = %s AND cost_state = %s"
)


def accept_together(answers: Sequence[_Answer], upstream: Upstream) -> set[int]:
    """Records those answers to creates of which nothing has to be decided, and returns their keys.

    The others are left to outcomes.accept: an id that was given before, a job that was cancelled meanwhile,
    an answer that came after the lease. So are all if it cannot be written.
    """
    if not answers:
        return set()
    try:
        with transaction.atomic(durable=True):
            return _accept(answers, upstream)
    except Exception as error:
        logger.warning("Answers are recorded one by one: %s", error)
        return set()


def _accept(answers: Sequence[_Answer], upstream: Upstream) -> set[int]:
    # In one order, as whoever locks several jobs.
    jobs = Job.objects.select_for_update(of=("self",)).filter(pk__in=[each.job_id for each, _ in answers])
    waiting = {
        pk for pk, status in jobs.order_by("pk").values_list("pk", "status") if status == JobStatus.PENDING
    }
    now = database_now()
    plain = _plain([answer for answer in answers if answer[0].job_id in waiting])
    if not plain:
        return set()
    _note_echoes(plain, upstream, now)
    _move(plain, now)
    pks = [submission.pk for submission, _ in plain]
    provider = plain[0][0].provider
    Job.objects.filter(pk__in=[submission.job_id for submission, _ in plain]).update(
        status=JobStatus.PROCESSING, started_at=now, updated_at=now
    )
    JobEvent.append(now, *(line for answer in plain for line in _lines(*answer)))
    # After the jobs' rows, against the usual order: claims hold the provider's row but never wait for a
    # job's.
    record_success(provider.pk)
    Provider.objects.filter(pk=provider.pk, books_checked_at__isnull=False).update(books_checked_at=now)
    for submission, video in plain:
        submission.state, submission.upstream_id, submission.accepted_at = (
            SubmissionState.RENDERING,
            video.id,
            now,
        )
        submission.job.status = JobStatus.PROCESSING
        moved = partial(
            submission_moved.send_robust,
            Submission,
            submission=submission,
            before=SubmissionState.SENDING,
        )
        transaction.on_commit(moved)
    return set(pks)


def _plain(answers: Sequence[_Answer]) -> list[_Answer]:
    """Those whose submission still waits for its answer, and got an id that no other has. Their submissions
    are as the rows now are."""
    fresh = Submission.objects.filter(state=SubmissionState.SENDING, cost_state=CostState.RESERVED).only(
        "clock_low", "clock_high"
    )
    rows = fresh.in_bulk([submission.pk for submission, _ in answers])
    ids = Counter(video.id for _, video in answers)
    provider = {submission.provider_id for submission, _ in answers}
    known = set(
        Submission.objects.filter(provider__in=provider, upstream_id__in=list(ids)).values_list(
            "upstream_id", flat=True
        )
    )
    found = []
    for submission, video in answers:
        row = rows.get(submission.pk)
        if row is not None and video.id not in known and ids[video.id] == 1:
            submission.clock_low, submission.clock_high = row.clock_low, row.clock_high
            found.append((submission, video))
    return found


def _note_echoes(answers: Sequence[_Answer], upstream: Upstream, now: datetime) -> None:
    """Keeps whether the dates of these videos fit ours, and that a list of other echoes proves nothing."""
    provider = Provider.objects.filter(pk=answers[0][0].provider_id)
    fits = [dated_within(video, submission, now) for submission, video in answers]
    if any(video.created_at is not None for _, video in answers):
        provider.exclude(dates_agree=all(fits)).update(dates_agree=all(fits))
    echoes_others = any(contradicts(video, submission, upstream.dialect) for submission, video in answers)
    if echoes_others or not all(fits):
        provider.filter(proves_absence=True).update(proves_absence=False)


def _move(answers: Sequence[_Answer], now: datetime) -> None:
    """Writes the state rendering. Raises RuntimeError if one has left the state sending."""
    adapt = connection.ops.adapt_datetimefield_value
    due_at = now + timedelta(seconds=poll_interval(0))
    # The deadline of the render counts from its start, not from when we found out about it.
    give_up_at = now + timedelta(seconds=settings.JOB_GIVE_UP_AFTER)
    times = [adapt(each) for each in (now, now, due_at, give_up_at)]
    was = (SubmissionState.SENDING.value, CostState.RESERVED.value)
    with connection.cursor() as cursor:
        cursor.executemany(
            _UPDATE,
            [
                (SubmissionState.RENDERING.value, video.id, adapt(video.created_at), *times, each.pk, *was)
                for each, video in answers
            ],
        )
        if cursor.rowcount != len(answers):
            raise RuntimeError("a submission has changed under the lock of its job")


def _lines(submission: Submission, video: Video) -> tuple[Line, Line]:
    """What its job's history says of it."""
    job = submission.job
    return (
        Line(
            job,
            "submission",
            SubmissionState.SENDING,
            SubmissionState.RENDERING,
            number=submission.number,
            detail={"upstreamId": video.id, "how": "answered"},
            logged={"provider": submission.provider.name},
        ),
        Line(job, "job", JobStatus.PENDING, JobStatus.PROCESSING),
    )
