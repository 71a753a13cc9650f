"""Probes video files, and makes a picture of them."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av import VideoFrame
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from videos.results.signatures import container_of


class Unplayable(Exception):
    """The file is no video that can be decoded."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a video file says about itself. `seconds` is how long its picture is; its sound may be longer."""

    width: int
    height: int
    seconds: float
    format: str
    # FFmpeg's name, such as h264.
    codec: str
    # Frames per second on the average; None if the file does not tell.
    fps: float | None
    # Whether it has sound.
    audio: bool


# So much of the length that a file announces must be there. Some writers announce a little too much.
_PRESENT: Final = 0.8
_SECONDS_MISSING: Final = 1.0


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
            if first is None:
                raise Unplayable("It has no frames.")
            # What is written while it is recorded, such as a WebM from a browser, announces no length.
            length = container.duration / av.time_base if container.duration else 0.0
            if container.duration:
                container.seek((container.start_time or 0) + container.duration, backward=True)
            end, picture_end = _ends(container, stream)
            # A file that was cut short opens well: its index comes first and its end is missing. The length
            # that a WebM announces counts from zero, though its picture may begin later.
            begins = max(0, container.start_time or 0) / av.time_base
            if not picture_end or begins + end < length * _PRESENT - _SECONDS_MISSING:
                raise Unplayable("It ends too early.")
            seconds = picture_end
            if stream.duration is not None and stream.time_base is not None:
                seconds = float(stream.duration * stream.time_base)
            names = container.format.name.split(",")
            return Probe(
                width=first.width,
                height=first.height,
                seconds=round(seconds, 3),
                format="mp4" if "mp4" in names else names[0],
                codec=stream.codec.canonical_name,
                fps=round(float(stream.average_rate), 3) if stream.average_rate else None,
                audio=bool(container.streams.audio),
            )
    except (FFmpegError, StopIteration) as error:
        raise Unplayable(f"It cannot be decoded: {error}") from error


def _ends(container: InputContainer, stream: VideoStream) -> tuple[float, float]:
    """Where the last stream and where the picture ends, in seconds from the start. Decodes what is left."""
    start = (container.start_time or 0) / av.time_base
    end = picture_end = 0.0
    for packet in container.demux():
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - start)
        for frame in packet.decode() if packet.stream is stream else ():
            if isinstance(frame, VideoFrame) and frame.time is not None and frame.time_base is not None:
                shown = float((frame.duration or 0) * frame.time_base)
                picture_end = max(picture_end, frame.time + shown - start)
    return max(end, picture_end), picture_end


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
