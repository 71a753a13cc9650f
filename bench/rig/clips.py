"""The video that the upstream of a benchmark has."""

import os
import struct
from pathlib import Path

from simulator.clips.render import render
from simulator.clips.spec import ClipSpec


def clip_in(folder: Path, size: int = 0) -> str:
    """Draws a small mp4 in this folder, of so many bytes at least. Returns its path without the suffix."""
    clip = str(folder / "clip")
    render(ClipSpec(clip, "clip", "clip", 64, 64, 1, os.getppid()))
    _lengthen(Path(f"{clip}.mp4"), size)
    return clip


def _lengthen(path: Path, size: int) -> None:
    """Adds a box of type `free` to a video, which players pass over (ISO/IEC 14496-12)."""
    if (missing := size - path.stat().st_size) > 0:
        with path.open("ab") as file:
            file.write(struct.pack(">I4s", missing, b"free"))
            file.truncate(size)
