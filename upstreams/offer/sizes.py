"""The size of a video, fitted to those that the upstream renders."""

from dataclasses import dataclass
from math import log

from upstreams.offer.adjustments import Adjustments
from upstreams.offer.catalogue import AnySize
from upstreams.offer.request import ASPECT_RATIOS, RESOLUTIONS, VideoRequest, resolution_of


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


def fit_size(asked: VideoRequest, offered: tuple[str, ...] | AnySize, adjustments: Adjustments) -> str:
    """The nearest size, `WxH` in pixels: first by its shorter side, then by its shape."""
    if asked.size:
        wanted = _Size.parse(asked.size)
        lines, ratio = wanted.lines, wanted.ratio
    else:
        lines, ratio = RESOLUTIONS[asked.resolution or "720p"], _ratio(asked)
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
    if asked.size and chosen.name != asked.size:
        reason = "this upstream does not render that size with this model"
        adjustments.note("size", asked.size, chosen.name, reason, (size.name for size in sizes))
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
