"""How a JPEG, PNG or WebP file is built, read without decoding it.

A decoder looks only at what it needs, so it does not see what else a file is. This module finds where the
picture ends, how large it is before memory is allocated for it, and which parts a decoder needs.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rest_framework import status
from rest_framework.exceptions import APIException

# A file of 20 MB made of tiny parts would keep Python busy for seconds.
MAX_PARTS: Final = 50_000
# Encoders write about 10. Each scan passes over the whole picture, however few bytes it has.
MAX_SCANS: Final = 32

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_NEEDED: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"IDAT", b"IEND"})
_PNG_ANIMATED: Final = frozenset({b"acTL", b"fcTL", b"fdAT"})
_WEBP_ANIMATED: Final = frozenset({b"ANIM", b"ANMF"})
_WEBP_ANIMATION_FLAG: Final = 0x02
# Baseline, extended and progressive: the others are rare, and some cost far more time.
_JPEG_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
_JPEG_OTHER_FRAMES: Final = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
# Tables, JFIF and Adobe, which tell how colours are coded.
_JPEG_NEEDED: Final = _JPEG_FRAMES | {0xC4, 0xDB, 0xDD, 0xDA, 0xE0, 0xEE}
# One or more FF bytes may precede a marker.
_FILL: Final = re.compile(rb"\xff+")
# Within a scan: FF 00 is a byte of data, D0 to D7 restart it.
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class ImageRefused(APIException):
    """422: the picture cannot be used. `details.reason` says why in one word."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "image_refused"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.extra = {"reason": reason}


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file says of its picture. `needed` is the file without what a decoder does not need."""

    format: Literal["JPEG", "PNG", "WEBP"]
    width: int
    height: int
    lossless: bool
    exif: bytes
    needed: bytes


def layout_of(data: bytes) -> Layout:
    """The layout of a file with one picture and nothing after it. Raises ImageRefused."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            found = _jpeg(data)
        elif data.startswith(_PNG):
            found = _png(data)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            found = _webp(data)
        else:
            raise ImageRefused("not_an_image", "It is no JPEG, PNG or WebP picture; save it as one of these.")
    except (struct.error, IndexError) as error:
        raise _broken() from error
    if not found.width or not found.height:
        raise _broken()
    return found


def _jpeg(data: bytes) -> Layout:
    kept, exif, size, scans, at = [data[:2]], b"", (0, 0), 0, 2
    for _ in range(MAX_PARTS):
        fill = _FILL.match(data, at)
        if fill is None:
            raise _broken()
        at = fill.end()
        marker = data[at]
        if marker == 0xD9:
            _require_end(data, at + 1)
            return Layout("JPEG", *size, lossless=False, exif=exif, needed=b"".join([*kept, b"\xff\xd9"]))
        (length,) = struct.unpack_from(">H", data, at + 1)
        end = at + 1 + length
        if length < 2 or end > len(data) or marker < 0xC0 or 0xD0 <= marker <= 0xD8:
            raise _broken()
        content = data[at + 3 : end]
        if marker in _JPEG_OTHER_FRAMES or (marker in _JPEG_FRAMES and size != (0, 0)):
            raise ImageRefused("unusual", "It is a JPEG of a rare kind; save it as a baseline JPEG.")
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, 1)
            size = (width, height)
        elif marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif = exif or content[6:]
        elif marker == 0xDA:
            scans += 1
            if scans > MAX_SCANS:
                raise ImageRefused("unusual", f"It has over {MAX_SCANS} scans; save it as a baseline JPEG.")
            following = _MARKER.search(data, end)
            if following is None:
                raise _broken()
            end = following.start()
        if marker in _JPEG_NEEDED or (marker == 0xE2 and content.startswith(b"ICC_PROFILE\0")):
            kept.append(b"\xff" + data[at:end])
        at = end
    raise _too_many_parts()


def _png(data: bytes) -> Layout:
    kept, exif, at = [_PNG], b"", len(_PNG)
    width = height = 0
    for number in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or (kind == b"IHDR") != (number == 0):
            raise _broken()
        if kind in _PNG_ANIMATED:
            raise _animated()
        if kind in _PNG_NEEDED:
            (checksum,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != checksum:
                raise _broken()
            kept.append(data[at:end])
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", data, at + 8)
        elif kind == b"eXIf":
            exif = exif or data[at + 8 : end - 4]
        elif kind == b"IEND":
            _require_end(data, end)
            return Layout("PNG", width, height, lossless=True, exif=exif, needed=b"".join(kept))
        at = end
    raise _too_many_parts()


def _webp(data: bytes) -> Layout:
    (length,) = struct.unpack_from("<I", data, 4)
    if length + 8 > len(data):
        raise _broken()
    _require_end(data, length + 8)
    width = height = 0
    lossless, exif = False, b""
    for kind, content in _webp_chunks(data):
        if kind in _WEBP_ANIMATED or (kind == b"VP8X" and content[0] & _WEBP_ANIMATION_FLAG):
            raise _animated()
        found = _webp_size(kind, content)
        # The frame and the canvas both have a size, and memory is allocated for the larger one.
        width, height = max(width, found[0]), max(height, found[1])
        lossless = lossless or kind == b"VP8L"
        if kind == b"EXIF":
            exif = exif or content.removeprefix(b"Exif\0\0")
    return Layout("WEBP", width, height, lossless=lossless, exif=exif, needed=data)


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    for _ in range(MAX_PARTS):
        if at >= len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > len(data):
            raise _broken()
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    raise _too_many_parts()


def _webp_size(kind: bytes, content: bytes) -> tuple[int, int]:
    if kind == b"VP8X":
        return (
            int.from_bytes(content[4:7], "little") + 1,
            int.from_bytes(content[7:10], "little") + 1,
        )
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return 0, 0


def orientation_of(exif: bytes) -> int:
    """The orientation that EXIF data name, from 1 to 8; 1 (upright) if they name none that can be read."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for number in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * number)
            if (tag, kind) == (0x0112, 3):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def _require_end(data: bytes, end: int) -> None:
    if end != len(data):
        raise ImageRefused(
            "trailing_data",
            f"{len(data) - end} bytes follow the picture's end; save it again as a plain picture.",
        )


def _broken() -> ImageRefused:
    return ImageRefused("broken", "The picture is cut short or damaged; send it again, or save it again.")


def _animated() -> ImageRefused:
    return ImageRefused("animated", "The picture is animated; send one still picture.")


def _too_many_parts() -> ImageRefused:
    return ImageRefused("unusual", f"It has over {MAX_PARTS} parts; save it again as a plain picture.")
