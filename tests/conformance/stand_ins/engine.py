"""The engine of a server under test: it waits, draws a small clip, and keeps a ledger of its creates."""

import asyncio
import io
import json
import os
import time
from pathlib import Path

import av
import numpy as np

# A prompt with this word makes the render fail; with the other, it takes long enough to be interrupted.
FAILS = "fail"
SLOW = "slow"
_SECONDS = 1.5
_SLOW_SECONDS = 12.0
_FAULT = "the stand-in engine ran out of memory"


class EngineFault(RuntimeError):
    """The render failed because its prompt asks for it."""


def record(event: str, video: str, **told: object) -> None:
    """Append a line to the ledger that the environment names. A judge reads it from outside."""
    line = {"event": event, "id": video, "time": time.time(), **told}
    with Path(os.environ["CONFORMANCE_LEDGER"]).open("a") as ledger:
        ledger.write(json.dumps(line) + "\n")


async def render(video: str, prompt: str) -> bytes:
    """An mp4, after a while. Raises EngineFault; records how the render ended."""
    try:
        await asyncio.sleep(_SLOW_SECONDS if SLOW in prompt else _SECONDS)
    except asyncio.CancelledError:
        record("stopped", video)
        raise
    if FAILS in prompt:
        record("failed", video)
        raise EngineFault(_FAULT)
    clip = await asyncio.to_thread(_drawn)
    record("rendered", video)
    return clip


def _drawn() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(8):
            picture = np.full((64, 64, 3), number * 30, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
