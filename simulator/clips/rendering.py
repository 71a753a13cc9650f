"""The clips on disk, and the one-shot processes that make them."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from simulator.catalogue import dimensions
from simulator.clips.spec import ClipSpec
from simulator.jobs import Job

_SUFFIXES = {"video": ".mp4", "thumbnail": ".webp", "spritesheet": ".jpg"}
_TRIES = 2
_SWEEP_SECONDS = 300


class RenderFailed(Exception):
    """A clip could not be made; the message says why."""


@dataclass(frozen=True)
class Clip:
    """What an uploaded clip is."""

    width: int
    height: int
    seconds: float

    def fits_character(self) -> bool:
        """2 to 4 s, 16:9 or 9:16, 720p to 1080p."""
        short, long = sorted((self.width, self.height))
        return 1.9 <= self.seconds <= 4.1 and 720 <= short <= 1080 and abs(long * 9 - short * 16) <= 16


class Clips:
    """Keeps and makes clips in `folder`; `ended` hears of each job's clip, with an error's text or None."""

    def __init__(
        self,
        folder: Path,
        *,
        tiny: bool,
        processes: int,
        keep_seconds: float,
        ended: Callable[[Job, str | None], None],
    ) -> None:
        self.always_ready = tiny
        self._folder = folder
        self._processes = processes
        self._keep_seconds = keep_seconds
        self._ended = ended
        self._queue: asyncio.PriorityQueue[tuple[int, int, Job]] = asyncio.PriorityQueue()
        self._turn = itertools.count()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._rendering: set[str] = set()
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Prepares the folder, and the one clip of the tiny mode; raises RenderFailed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.always_ready and not self._tiny("video").exists():
            await self._render(ClipSpec(str(self._folder / "tiny"), "tiny", "tiny", 64, 64, 1, os.getpid()))
        self.tasks = [asyncio.create_task(self._work()) for _ in range(self._processes)]
        self.tasks.append(asyncio.create_task(self._sweep()))

    async def stop(self) -> None:
        """Ends all renders at once."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for future in self._waiting.values():
            future.cancel()

    def wanted(self, job: Job) -> None:
        """Queues the clip of a job that awaits one."""
        if not job.awaits_file:
            return
        if self.always_ready or self._path(job, "video").exists():
            self._ended(job, None)
        else:
            self._enqueue(job, priority=1)

    async def fetch(self, job: Job, variant: str) -> Path:
        """The file of a finished job; made again if it is missing. Raises RenderFailed."""
        if self.always_ready:
            return self._tiny(variant)
        path = self._path(job, variant)
        if not path.exists():
            # Somebody is waiting: ahead of those that are only queued.
            await asyncio.shield(self._enqueue(job, priority=0))
        return path

    def keep_reference(self, job: Job, data: bytes) -> None:
        if not self.always_ready:
            self._stem(job).with_suffix(".ref").write_bytes(data)

    def remove(self, job: Job) -> None:
        for suffix in (*_SUFFIXES.values(), ".ref"):
            self._stem(job).with_suffix(suffix).unlink(missing_ok=True)

    async def probe(self, data: bytes) -> Clip | None:
        """What an uploaded clip is; None for what is not a video."""
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part") as upload:
            upload.write(data)
            upload.flush()
            status, output, _ = await self._run("simulator.clips.probe", upload.name)
        return Clip(**json.loads(output)) if status == 0 else None

    def _stem(self, job: Job) -> Path:
        # An id may be any text, and of any length.
        return self._folder / hashlib.sha256(job.id.encode()).hexdigest()[:40]

    def _path(self, job: Job, variant: str) -> Path:
        return self._stem(job).with_suffix(_SUFFIXES[variant])

    def _tiny(self, variant: str) -> Path:
        return self._folder / f"tiny{_SUFFIXES[variant]}"

    def _enqueue(self, job: Job, priority: int) -> asyncio.Future[None]:
        future = self._waiting.get(job.id)
        if future is None:
            future = self._waiting[job.id] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((priority, next(self._turn), job))
        return future

    async def _work(self) -> None:
        while True:
            _, _, job = await self._queue.get()
            future = self._waiting.get(job.id)
            # A job that was queued twice is rendered once.
            if future is None or job.id in self._rendering:
                continue
            self._rendering.add(job.id)
            error = await self._rendered(job)
            self._rendering.discard(job.id)
            del self._waiting[job.id]
            self._ended(job, error)
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(RenderFailed(error))
                # Nobody need be waiting for it.
                future.exception()

    async def _rendered(self, job: Job) -> str | None:
        width, height = dimensions(job.size)
        stem = self._stem(job)
        reference = str(stem.with_suffix(".ref")) if job.has_reference else None
        spec = ClipSpec(str(stem), job.prompt, job.id, width, height, job.seconds, os.getpid(), reference)
        error = "never tried"
        for _ in range(_TRIES):
            try:
                await self._render(spec)
                return None
            except RenderFailed as failure:
                error = str(failure)
        return error

    async def _render(self, spec: ClipSpec) -> None:
        status, _, complaint = await self._run(
            "simulator.clips.render", data=json.dumps(asdict(spec)).encode()
        )
        if status != 0:
            last = complaint.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise RenderFailed(last[0] if last else f"exit code {status}")

    async def _run(self, module: str, *arguments: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        try:
            output, complaint = await process.communicate(data)
        finally:
            if process.returncode is None:
                # Cancelled: nobody waits for it any more.
                process.kill()
                await process.wait()
        return process.returncode or 0, output, complaint

    async def _sweep(self) -> None:
        while True:
            too_old = time.time() - self._keep_seconds
            with contextlib.suppress(OSError):
                for path in self._folder.iterdir():
                    if path.stem != "tiny" and path.stat().st_mtime < too_old:
                        path.unlink()
            await asyncio.sleep(_SWEEP_SECONDS)
