"""The type of a file by its first bytes, not by what its server says."""

from pathlib import Path
from typing import Final

# ISO base media (MP4, QuickTime): a box of one of these kinds comes first.
_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def container_of(path: Path) -> str | None:
    """The name of FFmpeg's reader for a video file; None if we do not accept its container.

    Left to itself, FFmpeg also takes playlists, which name other files and addresses for it to open.
    """
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in _BOXES:
        return "mp4"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    return "avi" if head.startswith(b"RIFF") and head[8:] == b"AVI " else None


def picture_suffix(content: bytes) -> str | None:
    """The suffix of a WebP, JPEG or PNG file; None if it is none of them."""
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    return "png" if content.startswith(b"\x89PNG\r\n\x1a\n") else None
