"""The beginning of an attempt."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from upstreams.models import Provider
from videos.models import Job, JobEvent, Submission
from videos.states import SubmissionState


def begin(job: Job, provider: Provider, now: datetime, **fields: Any) -> Submission:
    """Adds a submission in the state sending, with these fields and the first line of its history.

    It takes over the price and the reservation of the job. Called under the lock of the provider or the job.
    """
    submission = Submission(
        job=job,
        number=job.submissions.count() + 1,
        provider=provider,
        match_key=job.match_key,
        give_up_at=now + timedelta(seconds=settings.JOB_GIVE_UP_AFTER),
        request=job.fitted,
        model=job.fitted["model"],
        seconds=job.fitted["seconds"],
        # The price that was reserved for it, even if the price list has changed.
        price=job.estimated_cost,
        reservation=job.reservation,
        **fields,
    )
    submission.save(force_insert=True)
    Job.objects.filter(pk=job.pk).update(reservation=None, faults=0, fault="")
    sending = SubmissionState.SENDING
    JobEvent.record(job, "submission", "", sending, now, number=submission.number, provider=provider.name)
    return submission
