"""One clip, then the end: `python -m simulator.clips.render` reads a spec as JSON from standard input.

Writes STEM.webp (a thumbnail), STEM.jpg (a sprite sheet) and, last, STEM.mp4 (H.264, yuv420p,
index first), each under a temporary name until it is whole.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from PIL import Image

from simulator.clips.scene import Scene
from simulator.clips.spec import ClipSpec

FPS = 24
_SHEET_COLUMNS, _SHEET_ROWS = 4, 2
_SHEET_CELL = 240  # the longer side, in pixels


def render(spec: ClipSpec) -> None:
    """Renders the clip and its two stills; raises SystemExit if the process that asked is gone."""
    scene = Scene(spec.prompt, spec.video_id, spec.width, spec.height)
    first = _first_frame(spec)
    total = spec.seconds * FPS
    cells = _SHEET_COLUMNS * _SHEET_ROWS
    sampled = {cell * (total - 1) // (cells - 1): cell for cell in range(cells)}
    stills: list[Image.Image] = []
    stem = Path(spec.stem)
    with _whole(stem.with_suffix(".mp4")) as draft:
        # libx264 and the muxer are told their names: the draft's own suffix says nothing.
        with av.open(str(draft), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, "yuv420p"
            stream.options = {"preset": "ultrafast", "crf": "28"}
            stream.codec_context.thread_count = 1
            for number in range(total):
                if number % FPS == 0 and os.getppid() != spec.server:
                    raise SystemExit(1)
                image = scene.frame(number / FPS, number / total)
                if first is not None and number < FPS:
                    image = Image.blend(first, image, number / FPS)
                if number in sampled:
                    stills.append(image)
                frame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        _save_stills(stem, stills)


def _first_frame(spec: ClipSpec) -> Image.Image | None:
    if spec.reference is None:
        return None
    try:
        with Image.open(spec.reference) as image:
            return image.convert("RGB").resize((spec.width, spec.height))
    except OSError:
        return None


def _save_stills(stem: Path, stills: list[Image.Image]) -> None:
    with _whole(stem.with_suffix(".webp")) as draft:
        _shrunk(stills[len(stills) // 2], 640).save(draft, "WEBP", quality=80, method=2)
    cells = [_shrunk(still, _SHEET_CELL) for still in stills]
    width, height = cells[0].size
    sheet = Image.new("RGB", (width * _SHEET_COLUMNS, height * _SHEET_ROWS))
    for position, cell in enumerate(cells):
        row, column = divmod(position, _SHEET_COLUMNS)
        sheet.paste(cell, (column * width, row * height))
    with _whole(stem.with_suffix(".jpg")) as draft:
        sheet.save(draft, "JPEG", quality=80)


def _shrunk(image: Image.Image, longest: int) -> Image.Image:
    smaller = image.copy()
    smaller.thumbnail((longest, longest))
    return smaller


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name to write to; the file takes its own name when all is written."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def main() -> None:
    # A Ctrl-C reaches the whole group; the server ends its renders by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    render(ClipSpec(**json.load(sys.stdin)))


if __name__ == "__main__":
    main()
