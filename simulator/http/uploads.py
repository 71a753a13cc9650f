"""Videos that callers upload."""

from simulator.catalogue import MAX_EXTENDED_SECONDS, Catalogue
from simulator.clips.rendering import Clips
from simulator.http.bodies import Upload
from simulator.http.errors import invalid


async def size_and_seconds(clips: Clips, video: Upload) -> tuple[str, int]:
    """Size and whole seconds of an uploaded source."""
    clip = await clips.probe(video.data)
    if clip is None:
        raise invalid("video", "The video could not be read.")
    size, seconds = f"{clip.width}x{clip.height}", max(1, round(clip.seconds))
    if size not in Catalogue().sizes("sora-2-pro") or seconds > MAX_EXTENDED_SECONDS:
        raise invalid("video", f"A video of {size} and {seconds} seconds cannot be used.")
    return size, seconds
