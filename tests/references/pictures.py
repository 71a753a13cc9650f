"""Pictures in all forms, made in memory."""

import io
import struct
import zlib
from typing import Any

from PIL import Image

COLOUR = (200, 30, 60)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(kind: str = "PNG", size: tuple[int, int] = (48, 32), **options: Any) -> bytes:
    """A gradient, so that orientation and position can be seen."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    return encoded(image, kind, **options)


def flat(kind: str = "PNG", size: tuple[int, int] = (48, 32), **options: Any) -> bytes:
    return encoded(Image.new("RGB", size, COLOUR), kind, **options)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int) -> bytes:
    """A valid PNG in black and white of a few KB."""
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def with_part(data: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with another chunk behind its header."""
    return data[:33] + chunk(kind, content) + data[33:]
