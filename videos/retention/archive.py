"""Archiving jobs that ended long ago, and removing them, some at a time.

The file is on the disk before a row is removed, so a crash between the two leaves a job in both; it is then
archived again. What the jobs came to stays in the usage of their owner.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from upstreams.clock import database_now
from upstreams.models import ForeignVideo, Provider
from videos.models import Exclusion, Job, JobEvent, JobReference, Preview, Submission
from videos.results.media import removal_problem
from videos.retention.files import written
from videos.retention.stored import names_of
from videos.states import JOB_ENDED, SubmissionState
from videos.stores.media import delete_files
from videos.usage.stored import forget_stored

logger = logging.getLogger(__name__)

_TOGETHER: Final = 500
# Of each upstream, the last attempts stay: by them its list is compared with our books.
_STAYS: Final = timedelta(days=1)


def archived_before() -> datetime | None:
    """The moment before which what has ended is archived; None if everything is kept."""
    days = settings.JOB_RETENTION_DAYS
    return database_now() - timedelta(days=days) if days else None


def id_of(moment: datetime) -> UUID:
    """The least id of what was made at that moment: ids are UUIDv7 (RFC 9562)."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def archive_some(jobs: QuerySet[Job]) -> int:
    """Archives and removes some of these jobs that may go. Returns how many. Raises OSError."""
    before = archived_before()
    # Of a job that is not there any more, files that are left now would stay for ever.
    if before is None or (settings.RESULT_BUCKETS and removal_problem()):
        return 0
    with transaction.atomic():
        may_go = _may_go(jobs, before).order_by("pk").select_for_update(of=("self",), skip_locked=True)
        some = list(may_go[:_TOGETHER])
        if some:
            names = names_of(Job.objects.filter(pk__in=[job.pk for job in some]))
            with written("jobs", _lines(some)) as path:
                _remove(some)
            transaction.on_commit(partial(_remove_files, names), robust=True)
            logger.info("Archived jobs that ended before %s: %d, in %s.", before, len(some), path)
        return len(some)


def _may_go(jobs: QuerySet[Job], before: datetime) -> QuerySet[Job]:
    """Those that ended before, are counted, and of which nobody does or compares anything any more."""
    attempts = Submission.objects.filter(job=OuterRef("pk"))
    needed = Q(due_at__isnull=False)
    for provider in Provider.objects.all():
        last = _last_attempt(provider)
        if last is not None:
            needed |= Q(provider=provider, created_at__gte=last - _STAYS)
    return jobs.filter(
        ~Exists(attempts.filter(needed)),
        ~files_stay(),
        # The index of the ids finds those that are old enough.
        pk__lt=id_of(before),
        updated_at__lt=before,
        status__in=sorted(JOB_ENDED),
        counted=True,
    )


def files_stay() -> Q:
    """Jobs whose files must not go yet: an operator holds them, or their time is not over."""
    # Not of those whose time is null, which a negation must not take along.
    later = Q(remove_at__isnull=False, remove_at__gt=database_now(), removed_at=None)
    return Q(on_hold=True) | later


def _last_attempt(provider: Provider) -> datetime | None:
    """When the last attempt that its list may show was made, or the last one of all."""
    accepted = Submission.objects.filter(provider=provider, upstream_id__isnull=False)
    gone = Q(id_reused=True) | Q(state__in=[SubmissionState.DROPPED, SubmissionState.LOST])
    made = accepted.order_by("-pk").values_list("created_at", flat=True)
    return made.exclude(gone).first() or made.first()


def _lines(jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    """A line of each job, with its attempts and its history."""
    attempts = _by_job(Submission.objects.select_related("provider"), jobs, "number")
    events = _by_job(JobEvent.objects.all(), jobs, "number")
    pictures = _by_job(JobReference.objects.all(), jobs, "role")
    for job in jobs:
        yield {
            **fields_of(job),
            "submissions": [{**fields_of(each), "provider": each.provider.name} for each in attempts[job.pk]],
            "events": [fields_of(each) for each in events[job.pk]],
            "references": [fields_of(each) for each in pictures[job.pk]],
        }


def _by_job(rows: QuerySet[Any], jobs: Iterable[Job], order: str) -> dict[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = defaultdict(list)
    for row in rows.filter(job__in=[job.pk for job in jobs]).order_by(order):
        found[row.job_id].append(row)
    return found


def fields_of(row: Model) -> dict[str, Any]:
    """All columns of a row by name."""
    return {field.attname: field.value_from_object(row) for field in row._meta.concrete_fields}


def _remove(jobs: Sequence[Job]) -> None:
    """Removes the rows. Nobody waits: what is locked here has ended long ago."""
    pks = [job.pk for job in jobs]
    # While its list shows them, they must not be taken for the videos of other jobs.
    known = Submission.objects.filter(job__in=pks, upstream_id__isnull=False, id_reused=False)
    ForeignVideo.objects.bulk_create(
        (
            ForeignVideo(provider_id=provider, upstream_id=str(upstream_id))
            for provider, upstream_id in known.values_list("provider", "upstream_id")
        ),
        ignore_conflicts=True,
    )
    forget_stored(Job.objects.filter(pk__in=pks))
    for model in (JobEvent, JobReference, Exclusion, Preview, Submission):
        model.objects.filter(job__in=pks).delete()
    Job.objects.filter(pk__in=pks).delete()


def _remove_files(names: Iterable[str]) -> None:
    """Removes their videos and pictures. What a crash leaves is swept away later."""
    try:
        delete_files(names)
    except OSError as error:
        logger.error("Files of archived jobs are left: %s", error)
