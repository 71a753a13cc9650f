"""Fits a request to what the upstream offers, and names every difference."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import ceil, log
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from upstreams.client.types import CreateRequest
from upstreams.offer.catalogue import AnyLength, AnySize, Catalogue, Model
from upstreams.offer.request import (
    ASPECT_RATIOS,
    PICTURES,
    PRIORITIES,
    RESOLUTIONS,
    STYLES,
    AskedPicture,
    FittedRequest,
    Priority,
    VideoRequest,
    resolution_of,
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


def fit(asked: VideoRequest, catalogue: Catalogue) -> FittedRequest:
    """The nearest request that this upstream renders with the model that was asked for.

    Raises ValidationError if there is no such model, or a picture cannot be sent with it; and with the
    allowed values if `asked.strict` and something had to be adjusted.
    """
    adjustments = _Adjustments()
    name = asked.model or catalogue.default
    model = catalogue.models.get(name)
    if model is None:
        # Never replaced by another one: nobody pays for what was not asked for.
        message = f"There is no such model (allowed: {', '.join(catalogue.models)})."
        raise ValidationError({"model": [ErrorDetail(message, code="not_offered")]})
    size = _size(asked, model.sizes, adjustments)
    seconds = _seconds(asked, model.seconds, adjustments)
    priority = PRIORITIES.get((asked.priority or "normal").lower())
    if priority is None:
        adjustments.note("priority", asked.priority, "normal", "there is no such priority", PRIORITIES)
        priority = Priority.NORMAL
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


def fitted_fields(fitted: FittedRequest) -> dict[str, Any]:
    """The request as it is kept with the job and the submission."""
    return asdict(fitted.request)


def _seconds(asked: VideoRequest, offered: tuple[str, ...] | AnyLength, adjustments: _Adjustments) -> str:
    if isinstance(offered, AnyLength):
        return _any_length(asked.duration, offered, adjustments)
    if asked.duration is None:
        return min(offered, key=float)
    wanted = asked.duration
    # Of two that are equally near, the longer: what was asked for then fits into it.
    seconds = min(offered, key=lambda each: (abs(float(each) - wanted), -float(each)))
    if float(seconds) != wanted:
        used = int(seconds) if seconds.isdecimal() else float(seconds)
        adjustments.note("duration", wanted, used, "this upstream does not render that length", offered)
    return seconds


def _any_length(wanted: float | None, offered: AnyLength, adjustments: _Adjustments) -> str:
    if wanted is None:
        return str(offered.usual)
    seconds = min(max(ceil(wanted), offered.least), offered.most)
    if seconds != wanted:
        allowed = [f"whole numbers from {offered.least} to {offered.most}"]
        adjustments.note("duration", wanted, seconds, "this upstream does not render that length", allowed)
    return str(seconds)


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
    def resolution(self) -> str:
        """The usual name of its lines."""
        return resolution_of(self.name)

    @property
    def ratio(self) -> float:
        return self.width / self.height

    @classmethod
    def parse(cls, name: str) -> "_Size":
        width, _, height = name.partition("x")
        return cls(name, int(width), int(height))


def _size(asked: VideoRequest, offered: tuple[str, ...] | AnySize, adjustments: _Adjustments) -> str:
    lines = RESOLUTIONS[asked.resolution or "720p"]
    ratio = _ratio(asked)
    sizes = (
        [_nearest(lines, ratio, offered)]
        if isinstance(offered, AnySize)
        else [_Size.parse(name) for name in offered]
    )
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
            chosen.resolution,
            "this upstream does not render that resolution with this model",
            dict.fromkeys(size.resolution for size in sizes),
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


def _ratio(asked: VideoRequest) -> float:
    """The shape that is asked for, or else that of the picture that the video begins with."""
    if asked.aspect_ratio or asked.input_reference is None:
        return ASPECT_RATIOS[asked.aspect_ratio or "16:9"]
    return min(max(asked.input_reference.ratio, min(ASPECT_RATIOS.values())), max(ASPECT_RATIOS.values()))


def _nearest(lines: int, ratio: float, offered: AnySize) -> _Size:
    """The size of that shape whose shorter side has so many pixels, in the steps of the upstream."""

    def side(pixels: float) -> int:
        return min(max(round(pixels / offered.step) * offered.step, offered.least), offered.most)

    width, height = (side(lines * ratio), side(lines)) if ratio >= 1 else (side(lines), side(lines / ratio))
    return _Size(f"{width}x{height}", width, height)


def _shape(size: _Size) -> str:
    """The usual name of a shape, or its width and height."""
    for name, ratio in ASPECT_RATIOS.items():
        if abs(log(size.ratio / ratio)) <= 0.01:
            return name
    return f"{size.width}:{size.height}"


def shapes_of(offered: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The resolutions and the shapes of these sizes, by their usual names."""
    sizes = [_Size.parse(name) for name in offered]
    return list(dict.fromkeys(size.resolution for size in sizes)), list(dict.fromkeys(map(_shape, sizes)))
