"""Rows in a given state, without the journey there."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from upstreams.clock import database_now
from upstreams.models import Provider
from videos.models import Job, Submission
from videos.states import ACCEPTED, COST_IN, SubmissionState


def submission_in(job: Job, state: SubmissionState, **fields: Any) -> Submission:
    """A new attempt of the job at the scripted upstream; `fields` win."""
    now = database_now()
    provider, _ = Provider.objects.get_or_create(name="scripted")
    given = {
        "job": job,
        "number": job.submissions.count() + 1,
        "provider": provider,
        "match_key": job.match_key,
        "state": state,
        "lease_until": now + timedelta(minutes=1),
        "give_up_at": now + timedelta(days=1),
        "request": job.fitted,
        "price": Decimal("0.40"),
        "cost_state": min(COST_IN[state]),
        "upstream_id": f"video_{job.pk}_{state}" if state in ACCEPTED else None,
        "created_at": now,
    }
    return Submission.objects.create(**(given | fields))
