"""Fits a request to what the upstream offers, and names every difference."""

from dataclasses import asdict
from typing import Any, Final

from rest_framework.exceptions import ErrorDetail, ValidationError

from upstreams.client.types import CreateRequest
from upstreams.offer.adjustments import Adjustments
from upstreams.offer.catalogue import Catalogue, Model
from upstreams.offer.lengths import fit_seconds
from upstreams.offer.request import (
    PICTURES,
    PRIORITIES,
    STYLES,
    AskedPicture,
    FittedRequest,
    Priority,
    VideoRequest,
)
from upstreams.offer.sizes import fit_size

# Fields that the version before does not know, and refuses.
_NEW: Final = ("operation", "source", "source_seconds")


def fit(asked: VideoRequest, catalogue: Catalogue) -> FittedRequest:
    """The nearest request that this upstream renders with the model that was asked for.

    Raises ValidationError if there is no such model, or a picture cannot be sent with it; and with the
    allowed values if `asked.strict` and something had to be adjusted.
    """
    adjustments = Adjustments()
    name = asked.model or catalogue.default
    model = catalogue.models.get(name)
    if model is None:
        # Never replaced by another one: nobody pays for what was not asked for.
        message = f"There is no such model (allowed: {', '.join(catalogue.models)})."
        raise ValidationError({"model": [ErrorDetail(message, code="not_offered")]})
    size = fit_size(asked, model.sizes, adjustments)
    seconds = fit_seconds(asked, model.seconds, adjustments)
    priority = fit_priority(asked, adjustments)
    optional: dict[str, Any] = {}
    for field, wire, value in (
        ("negative_prompt", "negativePrompt", asked.negative_prompt or None),
        ("fps", "fps", asked.fps),
        ("seed", "seed", asked.seed),
        ("audio", "audio", asked.audio),
    ):
        if field in model.takes:
            optional[field] = value
        elif value is not None:
            adjustments.note(wire, value, None, "this upstream does not take it")
    extra = {key: value for key, value in asked.extra.items() if key in model.extra}
    if dropped := sorted(asked.extra.keys() - extra.keys()):
        reason = "this upstream does not take it"
        adjustments.note("extra", dropped, sorted(extra) or None, reason, sorted(model.extra))
    pictures = _pictures(asked, model, size)
    optional |= {name: picture.id for name, picture in pictures.items()}
    if asked.strict:
        adjustments.refuse()
    return FittedRequest(
        CreateRequest(
            prompt=f"{asked.prompt}\n\n{STYLES[asked.style]}" if asked.style else asked.prompt,
            model=model.sends or name,
            seconds=seconds,
            size=size,
            **optional,
            image_fit=(asked.image_fit or None) if pictures else None,
            extra=extra or None,
        ),
        priority,
        adjustments.made,
        model=name,
        price=model.cost(size, seconds, len(pictures)),
    )


def _pictures(asked: VideoRequest, model: Model, size: str) -> dict[str, AskedPicture]:
    """The pictures that are sent. Never left out: nobody pays for a video of something else.

    Raises ValidationError.
    """
    found = {name: picture for name in PICTURES if (picture := getattr(asked, name)) is not None}
    problems = {}
    for name, picture in found.items():
        if name not in model.takes:
            message = "This model takes no such picture; GET /api/v1/models lists what each one takes."
            problems[PICTURES[name]] = [ErrorDetail(message, code="not_offered")]
        elif model.exact_pictures and not asked.image_fit and f"{picture.width}x{picture.height}" != size:
            message = (
                f"The picture has {picture.width}x{picture.height} pixels, and must have those of the video, "
                f"{size}; give imageFit (crop, pad or stretch) and it is made so."
            )
            problems[PICTURES[name]] = [ErrorDetail(message, code="size_differs")]
    if problems:
        raise ValidationError(problems)
    return found


def fit_priority(asked: VideoRequest, adjustments: Adjustments) -> Priority:
    """The priority that is asked for; normal if none is, or there is no such one."""
    priority = PRIORITIES.get((asked.priority or "normal").lower())
    if priority is None:
        adjustments.note("priority", asked.priority, "normal", "there is no such priority", PRIORITIES)
        return Priority.NORMAL
    return priority


def fitted_fields(fitted: FittedRequest) -> dict[str, Any]:
    """The request as it is kept with the job and the submission."""
    fields = asdict(fitted.request)
    # While a new version is installed, processes of the one before still read what does not need these.
    return {name: each for name, each in fields.items() if each is not None or name not in _NEW}
