"""What a caller may ask for, and what is sent for it."""

from dataclasses import dataclass, field
from typing import Any, Final

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

# The protocol has no field for a style, so it goes with the prompt.
STYLES: Final = {
    "fun": "Style: playful, bright and energetic.",
    "calm": "Style: calm, soft and slow.",
    "background": "Style: unobtrusive, fit to run in the background.",
}

PRIORITIES: Final = {priority.name.lower(): priority for priority in Priority}


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """What a caller asks for. None and "" mean not asked."""

    prompt: str
    negative_prompt: str = ""
    duration: float | None = None
    resolution: str = ""
    aspect_ratio: str = ""
    fps: int | None = None
    seed: int | None = None
    style: str = ""
    model: str = ""
    priority: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True, slots=True)
class FittedRequest:
    """What will be sent, and how it differs from what was asked."""

    request: CreateRequest
    priority: Priority
    adjustments: list[dict[str, Any]]
