"""Waiting jobs that no upstream may take at present, because each one has refused them or cannot fit them."""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q

from upstreams import registry
from upstreams.clock import in_database
from videos.models import Exclusion
from videos.queue.position.reasons import Reason, Waiting
from videos.reads.rows import JobRow


def excluded_everywhere(jobs: Iterable[JobRow]) -> dict[UUID, Waiting]:
    """Of these jobs, those that are sent nowhere now, and until when."""
    upstreams = registry.configured()
    # The only upstream takes what is fitted to it, so that most reads need no query here.
    only = {"", upstreams.all[0].name} if len(upstreams) == 1 else set()
    jobs = [job for job in jobs if job.upstream not in only]
    holds = Q(until=None) | Q(until__gt=in_database())
    rows = (
        Exclusion.objects.filter(holds, job__in=[job.pk for job in jobs]).select_related("provider")
        if jobs
        else ()
    )
    by_job: dict[UUID, dict[str, Exclusion]] = defaultdict(dict)
    for row in rows:
        by_job[row.job_id][row.provider.name] = row
    offering = upstreams.models()
    found = {}
    for job in jobs:
        names = {each.name for each in offering.get(job.model, [])}
        if names and names <= by_job[job.pk].keys():
            found[job.pk] = _waiting(job, [by_job[job.pk][name] for name in sorted(names)])
    return found


def _waiting(job: JobRow, exclusions: list[Exclusion]) -> Waiting:
    ends = [each.until for each in exclusions if each.until is not None]
    detail = "; ".join(f"{each.provider.name}: {each.reason}" for each in exclusions)
    since = min(each.created_at for each in exclusions)
    return Waiting(Reason.NO_UPSTREAM, max(since, job.asked_at), min(ends, default=None), detail)
