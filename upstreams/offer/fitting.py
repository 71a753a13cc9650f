"""Fits a request to what the upstream offers, and names every difference."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import log
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from upstreams.client.dialects import Dialect
from upstreams.client.types import CreateRequest
from upstreams.offer import pricing
from upstreams.offer.request import (
    ASPECT_RATIOS,
    PRIORITIES,
    RESOLUTIONS,
    STYLES,
    FittedRequest,
    Priority,
    VideoRequest,
)


class _Adjustments:
    """Collects differences. With strict fitting they are errors."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.allowed: dict[str, list[str]] = {}

    def note(
        self, name: str, asked: object, used: object, reason: str, allowed: Iterable[object] = ()
    ) -> None:
        self.made.append({"field": name, "asked": asked, "used": used, "reason": reason})
        self.allowed[name] = [str(value) for value in allowed]

    def refuse(self) -> None:
        if not self.made:
            return
        problems = {}
        for made in self.made:
            allowed = self.allowed[made["field"]]
            hint = f"allowed: {', '.join(allowed)}" if allowed else "leave it out"
            problems[made["field"]] = [ErrorDetail(f"{made['reason']} ({hint}).", code="not_offered")]
        raise ValidationError(problems)


def fit(asked: VideoRequest, dialect: Dialect, default_model: str = "") -> FittedRequest:
    """The nearest request that this upstream renders, at no higher price per second than was asked for.

    Raises ValidationError with the allowed values if `asked.strict` and something had to be adjusted.
    """
    adjustments = _Adjustments()
    model = _model(asked, dialect, default_model or dialect.default_model, adjustments)
    size = _size(asked, dialect.models[model].sizes, adjustments)
    seconds = _seconds(asked, dialect.models[model].seconds, adjustments)
    priority = PRIORITIES.get((asked.priority or "normal").lower())
    if priority is None:
        adjustments.note("priority", asked.priority, "normal", "there is no such priority", PRIORITIES)
        priority = Priority.NORMAL
    for name, wire, value in (
        ("negative_prompt", "negativePrompt", asked.negative_prompt or None),
        ("fps", "fps", asked.fps),
        ("seed", "seed", asked.seed),
    ):
        if value is not None and name not in dialect.takes:
            adjustments.note(wire, value, None, "this upstream does not take it")
    if asked.strict:
        adjustments.refuse()
    return FittedRequest(
        CreateRequest(
            prompt=f"{asked.prompt}\n\n{STYLES[asked.style]}" if asked.style else asked.prompt,
            model=model,
            seconds=seconds,
            size=size,
            negative_prompt=(asked.negative_prompt or None) if "negative_prompt" in dialect.takes else None,
            fps=asked.fps if "fps" in dialect.takes else None,
            seed=asked.seed if "seed" in dialect.takes else None,
        ),
        priority,
        adjustments.made,
    )


def fitted_fields(fitted: FittedRequest) -> dict[str, Any]:
    """The request as it is kept with the job and the submission."""
    return asdict(fitted.request)


def _model(asked: VideoRequest, dialect: Dialect, default: str, adjustments: _Adjustments) -> str:
    if not asked.model:
        return default
    if asked.model in dialect.models:
        return asked.model
    for model in (default, *dialect.models):
        size = _size(asked, dialect.models[model].sizes, _Adjustments())
        if _no_dearer(asked.model, model, size):
            adjustments.note("model", asked.model, model, "this upstream has no such model", dialect.models)
            return model
    hint = f"allowed: {', '.join(dialect.models)}"
    message = f"This upstream has no such model, and none at its price per second or below ({hint})."
    raise ValidationError({"model": [ErrorDetail(message, code="not_offered")]})


def _no_dearer(asked: str, model: str, size: str) -> bool:
    """Whether a substitute stays within the asked model's price; an unlisted price is no limit."""
    limit, price = pricing.highest_per_second(asked), pricing.per_second(model, size)
    return limit is None or price is None or price <= limit


def _seconds(asked: VideoRequest, offered: tuple[str, ...], adjustments: _Adjustments) -> str:
    if asked.duration is None:
        return min(offered, key=float)
    wanted = asked.duration
    # Of two that are equally near, the longer: what was asked for then fits into it.
    seconds = min(offered, key=lambda each: (abs(float(each) - wanted), -float(each)))
    if float(seconds) != wanted:
        used = int(seconds) if seconds.isdecimal() else float(seconds)
        adjustments.note("duration", wanted, used, "this upstream does not render that length", offered)
    return seconds


@dataclass(frozen=True, slots=True)
class _Size:
    name: str
    width: int
    height: int

    @property
    def lines(self) -> int:
        """What 480p, 720p and 1080p count: the shorter side."""
        return min(self.width, self.height)

    @property
    def ratio(self) -> float:
        return self.width / self.height

    @classmethod
    def parse(cls, name: str) -> "_Size":
        width, _, height = name.partition("x")
        return cls(name, int(width), int(height))


def _size(asked: VideoRequest, offered: tuple[str, ...], adjustments: _Adjustments) -> str:
    sizes = [_Size.parse(name) for name in offered]
    lines = RESOLUTIONS[asked.resolution or "720p"]
    ratio = ASPECT_RATIOS[asked.aspect_ratio or "16:9"]
    nearest = min((size.lines for size in sizes), key=lambda each: (abs(each - lines), each))
    chosen = min(
        (size for size in sizes if size.lines == nearest),
        key=lambda each: (
            round(abs(log(each.ratio / ratio)), 6),
            -each.ratio,
        ),
    )
    if asked.resolution and chosen.lines != lines:
        adjustments.note(
            "resolution",
            asked.resolution,
            f"{chosen.lines}p",
            "this upstream does not render that resolution with this model",
            dict.fromkeys(f"{size.lines}p" for size in sizes),
        )
    if asked.aspect_ratio and abs(log(chosen.ratio / ratio)) > 0.01:
        adjustments.note(
            "aspectRatio",
            asked.aspect_ratio,
            _shape(chosen),
            "this upstream does not render that shape with this model",
            dict.fromkeys(_shape(size) for size in sizes),
        )
    return chosen.name


def _shape(size: _Size) -> str:
    """The usual name of a shape, or its width and height."""
    for name, ratio in ASPECT_RATIOS.items():
        if abs(log(size.ratio / ratio)) <= 0.01:
            return name
    return f"{size.width}:{size.height}"
