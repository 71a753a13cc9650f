"""The simulator's parts, put together, from its start to its end."""

import argparse
import asyncio
import contextlib
import ipaddress
import os
import socket
import sys
import time
from pathlib import Path

from aiohttp import web

from simulator.catalogue import Catalogue
from simulator.clips.rendering import Clips, RenderFailed
from simulator.clock import Clock
from simulator.counts import Counts
from simulator.faults import Faults
from simulator.http.app import Gate, application
from simulator.http.characters import Characters
from simulator.http.control import Control
from simulator.http.making import Maker
from simulator.http.videos import Videos
from simulator.jobs import Fate, Job
from simulator.profiles import PROFILES
from simulator.state.store import Store
from simulator.webhooks import Webhooks

_PARENT_POLL_SECONDS = 0.5
_MAX_LINE_BYTES = 64 * 1024  # an id may be 10 KB
_RENDER_FAILURE = {"code": "server_error", "message": "The video could not be rendered."}


class CannotStart(Exception):
    """The message says what is in the way."""


class Simulator:
    """The parts, put together; `run` serves until it is cancelled."""

    def __init__(self, options: argparse.Namespace, store: Store) -> None:
        self._options = options
        self._store = store
        faults, counts, clock = Faults(), Counts(), Clock(options.clock_offset)
        self._profile = profile = PROFILES[options.profile]
        self._webhooks = Webhooks(store, faults, profile, options.webhook)
        media = options.state.with_name(options.state.name + ".media")
        self._clips = Clips(
            media,
            tiny=options.tiny,
            processes=options.renders,
            keep_seconds=options.render_seconds + options.expires_seconds + 3600,
            ended=self._ended,
        )
        maker = Maker(
            store,
            self._clips,
            clock,
            profile,
            options.render_seconds,
            options.expires_seconds,
            options.count_ids,
            self._webhooks.notify,
        )
        model = options.model or profile.model
        videos = Videos(store, self._clips, Catalogue(strict=options.strict), maker, model)
        gate = Gate(
            faults,
            self._webhooks,
            counts,
            clock,
            options.api_key,
            options.poll_after_ms,
            options.verbose,
            profile,
        )
        control = Control(store, faults, self._webhooks, counts, clock, options.bill_failed)
        self._runner = web.AppRunner(
            application(gate, videos, Characters(store, self._clips), control, store, model),
            access_log=None,
            shutdown_timeout=0.1,
            max_line_size=_MAX_LINE_BYTES,
        )

    async def run(self) -> None:
        """Raises CannotStart if the address is taken or no clip can be made."""
        try:
            await self._prepare()
            if self._profile.forgets:
                self._store.forget_all(time.time())
            for job in self._store.to_render():
                self._clips.wanted(job)
            self._webhooks.start()
            await self._listen()
            self._tell()
            await self._last()
        finally:
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(self._runner.cleanup)
                stack.push_async_callback(self._webhooks.stop)
                stack.push_async_callback(self._clips.stop)

    async def _prepare(self) -> None:
        try:
            await self._clips.start()
        except (OSError, RenderFailed) as error:
            raise CannotStart(f"cannot make clips: {error}") from error

    async def _listen(self) -> None:
        await self._runner.setup()
        if self._options.socket is not None:
            try:
                listening = socket.socket(fileno=self._options.socket)
            except OSError as error:
                raise CannotStart(f"cannot listen on descriptor {self._options.socket}: {error}") from error
            await web.SockSite(self._runner, listening).start()
            return
        host, port = self._options.host, self._options.port
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise CannotStart(f"cannot listen on {host}:{port}: {reason}") from error

    def _ended(self, job: Job, error: str | None) -> None:
        if error is None:
            self._store.ready(job, time.time())
        else:
            sys.stderr.write(f"simulator: {job.id} could not be rendered: {error}\n")
            if job.awaits_file:
                fate = Fate(ends_as="failed", error=_RENDER_FAILURE)
                self._store.decide(job, fate, time.time())
        self._webhooks.notify()

    def _tell(self) -> None:
        host, port = self._runner.addresses[0][:2]
        if ipaddress.ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
        ready: Path | None = self._options.ready_file
        if ready is not None:
            ready.parent.mkdir(parents=True, exist_ok=True)
            draft = ready.with_name(f"{ready.name}.{os.getpid()}.part")
            draft.write_text(url + "\n")
            draft.replace(ready)
        with contextlib.suppress(OSError):
            sys.stdout.write(f"simulator: {url}\n")
            sys.stdout.flush()

    async def _last(self) -> None:
        """Until the parent is gone, or until a part fails: rather no simulator than half of one."""
        watch = asyncio.create_task(self._parent_gone())
        parts = [watch, *self._clips.tasks, *self._webhooks.tasks]
        ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in ended:
            part.result()

    async def _parent_gone(self) -> None:
        """Returns when the process that started this one is gone, if that is asked for; else never."""
        while not self._options.exit_with_parent or os.getppid() == self._options.parent:
            await asyncio.sleep(_PARENT_POLL_SECONDS if self._options.exit_with_parent else 3600)
