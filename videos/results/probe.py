"""Probes video files, and makes a picture of them."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.error import FFmpegError

from videos.results.signatures import container_of


class Unplayable(Exception):
    """The file is no video that can be decoded."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a video file says about itself. `seconds` is its length."""

    width: int
    height: int
    seconds: float
    format: str


def probe(path: Path) -> Probe:
    """Reads a video's shape and decodes its first frame and the last part of it; raises Unplayable."""
    if (reader := container_of(path)) is None:
        raise Unplayable("It is no MP4, QuickTime, WebM, Matroska or AVI file.")
    try:
        with av.open(str(path), format=reader, metadata_errors="replace") as container:
            if not container.streams.video:
                raise Unplayable("It has no video stream.")
            stream = container.streams.video[0]
            first = next(container.decode(stream), None)
            if first is None or container.duration is None:
                raise Unplayable("It has no frames or no length.")
            seconds = container.duration / av.time_base
            # A file that was cut short opens well: its index comes first and its end is missing.
            container.seek(container.duration, backward=True)
            last = None
            for frame in container.decode(stream):
                last = frame
            if last is None or last.time is None or last.time < seconds * 0.5 - 1:
                raise Unplayable("It ends too early.")
            names = container.format.name.split(",")
            return Probe(first.width, first.height, round(seconds, 3), "mp4" if "mp4" in names else names[0])
    except (FFmpegError, StopIteration) as error:
        raise Unplayable(f"It cannot be decoded: {error}") from error


def jpeg_of_first_frame(path: Path) -> bytes:
    """The first frame as a JPEG; raises Unplayable."""
    try:
        with av.open(str(path), format=container_of(path), metadata_errors="replace") as container:
            frame = next(container.decode(container.streams.video[0]))
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height = frame.width, frame.height
            encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
            picture = frame.reformat(format="yuvj420p")
            return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
    except (FFmpegError, StopIteration, IndexError) as error:
        raise Unplayable(f"No frame can be read: {error}") from error
