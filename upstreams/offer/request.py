"""What a caller may ask for, and what is sent for it."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import models

from upstreams.client.types import CreateRequest

MAX_PROMPT_LENGTH: Final = 2000


class Priority(models.IntegerChoices):
    """Which jobs are claimed first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


# The pixels of the shorter side.
RESOLUTIONS: Final = {"480p": 480, "720p": 720, "1080p": 1080, "1440p": 1440, "4k": 2160}
ASPECT_RATIOS: Final = {
    "16:9": 16 / 9,
    "9:16": 9 / 16,
    "1:1": 1.0,
    "4:3": 4 / 3,
    "3:4": 3 / 4,
    "3:2": 3 / 2,
    "2:3": 2 / 3,
    "21:9": 21 / 9,
    "9:21": 9 / 21,
}


def resolution_of(size: str) -> str:
    """The usual name of a size `WxH`, by the pixels of its shorter side; "" if it is no such size."""
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        return ""
    lines = min(int(width), int(height))
    return next((name for name, each in RESOLUTIONS.items() if each == lines), f"{lines}p")


# The protocol has no field for a style, so it goes with the prompt.
STYLES: Final = {
    "fun": "Style: playful, bright and energetic.",
    "calm": "Style: calm, soft and slow.",
    "background": "Style: unobtrusive, fit to run in the background.",
}

PRIORITIES: Final = {priority.name.lower(): priority for priority in Priority}


# The pictures of a request, by the names of its fields, and what callers call them.
PICTURES: Final = {"input_reference": "inputReference", "last_frame": "lastFrame"}


@dataclass(frozen=True, slots=True)
class AskedPicture:
    """A picture that a video is to begin or end with. `id`: of the kept one, or "" while none is kept."""

    id: str
    width: int
    height: int

    @property
    def ratio(self) -> float:
        """Its width divided by its height."""
        return self.width / self.height


@dataclass(frozen=True, slots=True)
class Source:
    """The video of a job that another one is made from, as its upstream has it.

    `video_id` is its id there, `model` what that calls its model. `size` is as it was sent, and `seconds` is
    its whole length.
    """

    job: UUID
    upstream: str
    video_id: str
    model: str
    seconds: str
    size: str


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """What a caller asks for. None and "" mean not asked."""

    prompt: str
    negative_prompt: str = ""
    duration: float | None = None
    resolution: str = ""
    aspect_ratio: str = ""
    # `WxH` in pixels, in place of the two before.
    size: str = ""
    fps: int | None = None
    seed: int | None = None
    audio: bool | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    input_reference: AskedPicture | None = None
    last_frame: AskedPicture | None = None
    image_fit: str = ""
    style: str = ""
    model: str = ""
    priority: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    # Seconds for which its files are kept here.
    retain_for: int | None = None
    strict: bool = False
    # What it is made from, and how: a name of OPERATIONS.
    operation: str = ""
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class FittedRequest:
    """What will be sent, how it differs from what was asked, and what it costs.

    `model` is the name that callers use. `price` is in dollars, None if it is not listed. `upstream`: the
    name of the upstream that it was fitted to. `match_key`: by which the list of that one shows it, or "".
    """

    request: CreateRequest
    priority: Priority
    adjustments: list[dict[str, Any]]
    model: str
    price: Decimal | None
    upstream: str = ""
    match_key: str = ""
