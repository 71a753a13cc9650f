"""Fits a waiting job to the upstream that takes it, if that is not the one that it was fitted to."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from rest_framework.exceptions import ValidationError

from upstreams import registry
from upstreams.models import Provider
from upstreams.offer.fitting import fitted_fields
from upstreams.offer.request import PRIORITIES, FittedRequest, Priority, VideoRequest
from upstreams.registry import Upstream
from videos.models import Exclusion, Job, JobEvent
from videos.states import JobStatus

# A catalogue changes with a restart, or when a price list is read again.
_UNFIT_SECONDS: Final = 600
# The one that it was fitted to may have room again.
_LESS_FIT_SECONDS: Final = 30


def asked_of(job: Job) -> VideoRequest:
    """What the caller asked for, as the row has it."""
    return VideoRequest(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt,
        duration=job.duration,
        resolution=job.resolution,
        aspect_ratio=job.aspect_ratio,
        fps=job.fps,
        seed=job.seed,
        style=job.style,
        model=job.model or str(job.fitted["model"]),
        priority=next(name for name, each in PRIORITIES.items() if each == Priority(job.priority)),
        metadata=job.metadata,
        strict=job.strict,
    )


def refit(job: Job, upstream: Upstream, provider: Provider, now: datetime) -> bool:
    """Fits a job to this upstream and keeps that with it; False if it is not to be sent there.

    It is never sent at more than what was reserved for it. Nothing of it is changed further only because the
    upstream that it was fitted to is busy. Called under the job's lock.
    """
    if job.upstream == upstream.name:
        return True
    try:
        fitted = upstream.fit(asked_of(job))
    except ValidationError as error:
        return _exclude(job, provider, now, _UNFIT_SECONDS, f"It cannot render this: {_said(error)}")
    told = {each["field"] for each in job.adjustments}
    changes_more = any(each["field"] not in told for each in fitted.adjustments)
    if changes_more and job.upstream and _is_only_busy(job.upstream):
        return _exclude(job, provider, now, _LESS_FIT_SECONDS, "It would change more of what was asked for.")
    if not _is_within_reserved(job, fitted):
        return _exclude(job, provider, now, _UNFIT_SECONDS, "It costs more than what was reserved.")
    _keep(job, fitted, now)
    return True


def exclude(job: Job, provider: Provider, reason: str) -> None:
    """Sends the job there no more, until it is retried."""
    Exclusion.objects.update_or_create(job=job, provider=provider, defaults={"reason": reason, "until": None})


def _exclude(job: Job, provider: Provider, now: datetime, seconds: float, reason: str) -> bool:
    fields = {"reason": reason, "until": now + timedelta(seconds=seconds)}
    Exclusion.objects.update_or_create(job=job, provider=provider, defaults=fields)
    return False


def _said(error: ValidationError) -> str:
    found: Any = error.detail
    while isinstance(found, dict | list) and found:
        found = next(iter(found.values())) if isinstance(found, dict) else found[0]
    return str(found)


def _is_only_busy(name: str) -> bool:
    """Whether the upstream is configured and takes creates, although it may have no room now."""
    provider = Provider.objects.filter(name=name).first()
    return registry.configured().get(name) is not None and (provider is None or provider.takes_creates())


def _is_within_reserved(job: Job, fitted: FittedRequest) -> bool:
    reserved: Decimal | None = job.reservation.amount if job.reservation is not None else None
    if reserved is None:
        # Nothing was promised, and no budget is there.
        return job.estimated_cost is None or (fitted.price is not None and fitted.price <= job.estimated_cost)
    return fitted.price is not None and fitted.price <= reserved


def _keep(job: Job, fitted: FittedRequest, now: datetime) -> None:
    detail = {"from": job.upstream, "to": fitted.upstream}
    job.fitted = fitted_fields(fitted)
    job.upstream = fitted.upstream
    job.adjustments = fitted.adjustments
    job.match_key = fitted.match_key or job.pk.hex
    job.estimated_cost = fitted.price
    job.updated_at = now
    job.save(update_fields=["fitted", "upstream", "adjustments", "match_key", "estimated_cost", "updated_at"])
    JobEvent.record(job, "job", JobStatus.PENDING, JobStatus.PENDING, now, detail=detail)
