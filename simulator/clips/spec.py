"""What a render process is asked for; light enough for the server to load."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipSpec:
    """What to render, and for whom.

    `stem` is a path without its suffix, `reference` the path of the first frame's image, `server` the
    id of the process that asks: with it the render ends.
    """

    stem: str
    prompt: str
    video_id: str
    width: int
    height: int
    seconds: int
    server: int
    reference: str | None = None
