"""The beginning of an attempt."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count

from upstreams.models import Provider
from videos.models import Job, JobEvent, Submission
from videos.models.event import Line
from videos.states import SubmissionState


def begin(jobs: Sequence[Job], provider: Provider, now: datetime, **fields: Any) -> list[Submission]:
    """Adds a submission to each job, in the state sending, with these fields and the first line of its
    history.

    It takes over the price and the reservation of the job. Called under the lock of the provider or the jobs.
    """
    pks = [job.pk for job in jobs]
    before = dict(Submission.objects.filter(job__in=pks).order_by().values_list("job").annotate(Count("pk")))
    submissions = Submission.objects.bulk_create(
        Submission(
            job=job,
            number=before.get(job.pk, 0) + 1,
            provider=provider,
            match_key=job.match_key,
            give_up_at=now + timedelta(seconds=settings.JOB_GIVE_UP_AFTER),
            request=job.fitted,
            model=job.fitted["model"],
            seconds=job.fitted["seconds"],
            # The price that was reserved for it, even if the price list has changed.
            price=job.estimated_cost,
            reservation_id=job.reservation_id,
            **fields,
        )
        for job in jobs
    )
    Job.objects.filter(pk__in=pks).update(reservation=None, faults=0, fault="")
    for job in jobs:
        job.reservation = None
    JobEvent.append(
        now,
        *(
            Line(
                each.job,
                "submission",
                "",
                SubmissionState.SENDING,
                number=each.number,
                logged={"provider": provider.name},
            )
            for each in submissions
        ),
    )
    return submissions
