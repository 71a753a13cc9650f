"""Fits a waiting job to the upstream that takes it, if that is not the one that it was fitted to."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Q
from rest_framework.exceptions import ValidationError

from accounts.models import Reservation
from upstreams import registry
from upstreams.clock import in_database
from upstreams.models import Provider
from upstreams.offer.fitting import fitted_fields
from upstreams.offer.request import PRIORITIES, FittedRequest, Priority, Source, VideoRequest
from upstreams.registry import Upstream
from videos.models import Exclusion, Job, JobEvent, Submission
from videos.references.load import pictures_of_job
from videos.states import JobStatus

# A catalogue changes with a restart, or when a price list is read again.
_UNFIT_SECONDS: Final = 600
# The one that it was fitted to may have room again.
_LESS_FIT_SECONDS: Final = 30
# What fitting sets.
FIELDS: Final = ("fitted", "upstream", "adjustments", "match_key")


def asked_of(job: Job) -> VideoRequest:
    """What the caller asked for, as the row has it."""
    pictures: dict[str, Any] = {**pictures_of_job(job)}
    return VideoRequest(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt,
        duration=job.duration,
        resolution=job.resolution,
        aspect_ratio=job.aspect_ratio,
        size=job.size,
        fps=job.fps,
        seed=job.seed,
        audio=job.audio,
        extra=job.extra,
        **pictures,
        image_fit=job.fitted.get("image_fit") or "",
        style=job.style,
        model=job.model or str(job.fitted["model"]),
        priority=next(name for name, each in PRIORITIES.items() if each == Priority(job.priority)),
        metadata=job.metadata,
        strict=job.strict,
        operation=job.operation,
        source=_source_of(job),
    )


def _source_of(job: Job) -> Source | None:
    """What it is made from. Such a job is fitted to the upstream of its source, and never to another one."""
    if job.source_job is None:
        return None
    fitted = job.fitted
    return Source(
        job=job.source_job,
        upstream=job.upstream,
        video_id=fitted["source"],
        model=fitted["model"],
        seconds=fitted.get("source_seconds") or fitted["seconds"],
        size=fitted["size"],
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
        return _exclude(job, provider, _UNFIT_SECONDS, f"It cannot render this: {_said(error)}")
    told = {each["field"] for each in job.adjustments}
    changes_more = any(each["field"] not in told for each in fitted.adjustments)
    if changes_more and job.upstream and _is_only_busy(job.upstream):
        return _exclude(job, provider, _LESS_FIT_SECONDS, "It would change more of what was asked for.")
    if not _is_within_reserved(job.estimated_cost, job.reservation, fitted):
        return _exclude(job, provider, _UNFIT_SECONDS, "It costs more than what was reserved.")
    _keep(job, fitted, now)
    return True


def has_alternative(submission: Submission, upstream: Upstream) -> bool:
    """Whether another upstream could take the job of this attempt, for no more than is reserved."""
    job = submission.job
    held = Q(until=None) | Q(until__gt=in_database())
    excluded = set(Exclusion.objects.filter(held, job=job).values_list("provider__name", flat=True))
    for other in registry.configured().models().get(job.model, []):
        if other.name in {upstream.name, *excluded}:
            continue
        try:
            fitted = other.fit(asked_of(job))
        except ValidationError:
            continue
        if _is_within_reserved(job.estimated_cost, submission.reservation, fitted):
            return True
    return False


def exclude(job: Job, provider: Provider, reason: str, *, seconds: float | None = None) -> None:
    """Does not send the job there for so many seconds, or until it is retried."""
    until = None if seconds is None else in_database(seconds)
    Exclusion.objects.update_or_create(
        job=job, provider=provider, defaults={"reason": reason, "until": until}
    )


def _exclude(job: Job, provider: Provider, seconds: float, reason: str) -> bool:
    exclude(job, provider, reason, seconds=seconds)
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


def _is_within_reserved(
    estimated: Decimal | None, reservation: Reservation | None, fitted: FittedRequest
) -> bool:
    if estimated is None:
        # No price was known, and so there was no budget.
        return True
    reserved: Decimal = estimated if reservation is None else reservation.amount
    return fitted.price is not None and fitted.price <= reserved


def fit_anew(job: Job) -> Decimal | None:
    """Fits a job that is asked for again to the upstream that suits it best today. Returns the price.

    Saves nothing: FIELDS are to be saved. If no upstream renders it today, it stays as it is, and has no
    price.
    """
    try:
        fitted = registry.configured().fit(asked_of(job))
    except ValidationError:
        return None
    _apply(job, fitted)
    return fitted.price


def fit_as_rendered(job: Job, upstream: Upstream, now: datetime) -> None:
    """Fits a job to the upstream that has rendered it already. Called under the job's lock."""
    if job.upstream != upstream.name:
        _keep(job, upstream.fit(replace(asked_of(job), strict=False)), now)


def _keep(job: Job, fitted: FittedRequest, now: datetime) -> None:
    detail = {"from": job.upstream, "to": fitted.upstream}
    _apply(job, fitted)
    job.estimated_cost = fitted.price
    job.updated_at = now
    job.save(update_fields=[*FIELDS, "estimated_cost", "updated_at"])
    JobEvent.record(job, "job", JobStatus.PENDING, JobStatus.PENDING, now, detail=detail)


def _apply(job: Job, fitted: FittedRequest) -> None:
    job.fitted = fitted_fields(fitted)
    job.upstream = fitted.upstream
    # The priority was fitted when the job was accepted.
    kept = [each for each in job.adjustments if each["field"] == "priority"]
    job.adjustments = kept + fitted.adjustments
    job.match_key = fitted.match_key or job.pk.hex
