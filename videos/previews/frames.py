"""`python -m videos.previews.frames VIDEO SECONDS PICTURE PREFIX`: small pictures of a video.

A process of its own, without Django: what a decoder takes of memory is given back when it ends, and a file
that makes it crash, or takes it too long, harms nobody. PICTURE is the upstream's own, or "". Writes
PREFIX.poster.jpg, PREFIX.poster.webp, PREFIX.sheet.jpg and PREFIX.preview.webp, and the sheet's layout to
standard output as JSON.
"""

import io
import json
import math
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import av
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from videos.results.signatures import container_of, picture_suffix

Size = tuple[int, int]

_COLUMNS: Final = 10
_MOST_TILES: Final = 100
_TILE: Final = 160
# A tile for each so many seconds, or fewer.
_INTERVAL: Final = 0.25
_POSTER: Final = 1280
_ANIMATION: Final = 320
_ANIMATION_SECONDS: Final = 3.0
_ANIMATION_FPS: Final = 8
# Other pictures of an upstream are not opened.
_MOST_PIXELS: Final = 16_777_216
_DECODERS: Final[dict[str, Callable[[io.BytesIO], Image.Image]]] = {
    "jpg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
}
# It is nobody's hurry.
_NICENESS: Final = 10
# Seconds of processor, and bytes of memory and of each file. 4K takes about half a gigabyte.
_LIMITS: Final = {
    resource.RLIMIT_CPU: 60,
    resource.RLIMIT_AS: 4 * 1024**3,
    resource.RLIMIT_FSIZE: 64 * 1024**2,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tiles of a sheet are: `count` of them, row by row, each of `width` by `height` pixels, the
    first at 0 seconds and each of the others `interval` seconds after the one before."""

    columns: int
    count: int
    width: int
    height: int
    interval: float


def draw(video: Path, seconds: float, picture: bytes, prefix: str) -> Layout:
    """Writes the four files. Raises FFmpegError or ValueError if the video cannot be decoded."""
    interval = max(_INTERVAL, math.ceil(seconds / _MOST_TILES * 1000) / 1000)
    most = max(1, min(_MOST_TILES, math.ceil(seconds / interval)))
    poster = _opened(picture)
    tiles: list[Image.Image] = []
    moving: list[Image.Image] = []
    for at, frame in _frames(video):
        if poster is None:
            poster = _scaled(frame, _POSTER)
        # A frame that was skipped, or comes late, is the one before it.
        while len(tiles) < most and at >= len(tiles) * interval - 0.001:
            tiles.append(_scaled(frame, _TILE))
        if at < _ANIMATION_SECONDS and at >= len(moving) / _ANIMATION_FPS - 0.001:
            moving.append(_scaled(frame, _ANIMATION))
        if len(tiles) == most and at >= _ANIMATION_SECONDS:
            break
    if poster is None:
        raise ValueError("it has no frames")
    poster.save(f"{prefix}.poster.jpg", "JPEG", quality=85, optimize=True)
    poster.save(f"{prefix}.poster.webp", "WEBP", quality=80, method=3)
    sheet = Image.new("RGB", _sheet_size(tiles))
    width, height = tiles[0].size
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % _COLUMNS * width, number // _COLUMNS * height))
    sheet.save(f"{prefix}.sheet.jpg", "JPEG", quality=75, optimize=True)
    moving[0].save(
        f"{prefix}.preview.webp",
        "WEBP",
        save_all=True,
        append_images=moving[1:],
        duration=round(1000 / _ANIMATION_FPS),
        loop=0,
        quality=60,
        method=3,
    )
    return Layout(_COLUMNS, len(tiles), width, height, interval)


def _frames(video: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    """The frames with their times in seconds from the first."""
    with av.open(str(video), format=container_of(video), metadata_errors="replace") as container:
        first: float | None = None
        for frame in container.decode(container.streams.video[0]):
            if frame.time is None:
                continue
            first = frame.time if first is None else first
            yield frame.time - first, frame


def _scaled(frame: av.VideoFrame, most: int) -> Image.Image:
    """The frame in its shape, not longer than this on any side, and not larger than it is."""
    width, height = _fitting((frame.width, frame.height), most)
    image: Image.Image = frame.reformat(width, height, "rgb24").to_image()  # type: ignore[no-untyped-call]
    return image


def _fitting(size: Size, most: int) -> Size:
    scale = min(1.0, most / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _sheet_size(tiles: list[Image.Image]) -> Size:
    width, height = tiles[0].size
    return min(_COLUMNS, len(tiles)) * width, math.ceil(len(tiles) / _COLUMNS) * height


def _opened(picture: bytes) -> Image.Image | None:
    """The upstream's picture; None if there is none that can be used."""
    decoder = _DECODERS.get(picture_suffix(picture[:12]) or "")
    if decoder is None:
        return None
    # Whatever a decoder thinks of it, the first frame takes its place.
    with suppress(Exception):
        image = decoder(io.BytesIO(picture))
        if image.width * image.height <= _MOST_PIXELS:
            return image.convert("RGB").resize(_fitting(image.size, _POSTER))
    return None


def main(arguments: list[str]) -> None:
    """Writes the layout, or in one line why there is none."""
    video, seconds, picture, prefix = arguments
    os.nice(_NICENESS)
    # If the worker dies, nobody ends this process.
    for kind, most in _LIMITS.items():
        # What the service itself may have at most, nobody raises here.
        _, allowed = resource.getrlimit(kind)
        least = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(kind, (least, least))
    given = Path(picture).read_bytes() if picture else b""
    try:
        sys.stdout.write(json.dumps(asdict(draw(Path(video), float(seconds), given, prefix))))
    except Exception as error:
        # Its message may quote the file.
        sys.stdout.write(f"({type(error).__name__})")
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
