"""A caller asks for a video."""

from django.db import transaction

from accounts.models import ApiKey, User
from videos import pricing
from videos.clock import database_now
from videos.fitting import Asked, fit, fitted_fields
from videos.models import Job, JobEvent
from videos.states import JobStatus
from videos.upstream import Upstream
from videos.wake import wake


def create(
    asked: Asked,
    *,
    owner: User,
    api_key: ApiKey | None,
    upstream: Upstream,
    default_model: str = "",
) -> Job:
    """Accepts a job; it is pending and committed when this returns.

    Raises ValidationError where strict fitting finds something that the upstream does not offer.
    """
    fitted = fit(asked, upstream.dialect, default_model)
    request = fitted.request
    match_key = upstream.dialect.match_key(request)
    with transaction.atomic():
        now = database_now()
        job = Job.objects.create(
            owner=owner,
            api_key=api_key,
            prompt=asked.prompt,
            negative_prompt=asked.negative_prompt,
            duration=asked.duration,
            resolution=asked.resolution,
            aspect_ratio=asked.aspect_ratio,
            fps=asked.fps,
            seed=asked.seed,
            style=asked.style,
            model=asked.model,
            priority=fitted.priority,
            metadata=asked.metadata,
            fitted=fitted_fields(fitted),
            adjustments=fitted.adjustments,
            match_key=match_key or "",
            estimated_cost=pricing.cost(request.model, request.size, request.seconds),
            due_at=now,
            created_at=now,
            asked_at=now,
            updated_at=now,
        )
        JobEvent.record(job, "job", "", JobStatus.PENDING, now)
        wake("submit")
    return job
