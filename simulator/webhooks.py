"""Deliveries of webhooks of ended jobs, retried with exponential backoff."""

import asyncio
import json
import time

import aiohttp

from simulator.faults import Faults
from simulator.jobs import Job
from simulator.profiles import Profile
from simulator.profiles.parts.hooks import Endpoint
from simulator.profiles.parts.view import View
from simulator.state.records import Event
from simulator.state.store import Store

_ATTEMPT_SECONDS = 10
_GIVE_UP_SECONDS = 72 * 3600
_MAX_WAIT_SECONDS = 3600
_AT_ONCE = 16


class Webhooks:
    """Notices ends of jobs and delivers their events; without an endpoint it only notices."""

    def __init__(self, store: Store, faults: Faults, profile: Profile, endpoint: Endpoint | None) -> None:
        self.endpoint = endpoint
        self.hooks = profile.hooks
        self._profile = profile
        self._store = store
        self._faults = faults
        self._changed = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.tasks = [asyncio.create_task(self._announce()), asyncio.create_task(self._deliver())]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def notify(self) -> None:
        """Wakes the tasks, because jobs, events or the endpoint have changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def attempted(self, video_id: str, within: float) -> None:
        """Returns when an event of the job was sent, or when the time is over."""
        ends_at = time.monotonic() + within
        while self._store.attempts(video_id) == 0 and time.monotonic() < ends_at:
            await asyncio.sleep(0.02)

    async def _announce(self) -> None:
        while True:
            found = self._store.next_end()
            now = time.time()
            if found is None or found[1] > now:
                await self._wait(None if found is None else found[1] - now)
                continue
            job = found[0]
            self._store.announce(job, self._event(job, now))
            self.notify()

    def _event(self, job: Job, now: float) -> Event | None:
        if self._address(job) is None:
            return None
        told = self.hooks.event(job, self._profile.video(View(job, now, self._profile.words)), now)
        if told is None:
            return None
        return Event(told[0], job.id, json.dumps(told[1]), now, 0, now)

    def _address(self, job: Job | None) -> str | None:
        """Where the job's events go: to the address that its create named, else to the endpoint's."""
        if self.endpoint is None:
            return None
        own = None if job is None or not self.endpoint.optional else job.asked.get("callback_url")
        return own or self.endpoint.url

    async def _deliver(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            while True:
                events = self._store.next_events(_AT_ONCE) if self.endpoint is not None else []
                now = time.time()
                due = [event for event in events if event.due_at <= now]
                if due and self.endpoint is not None:
                    endpoint = self.endpoint
                    await asyncio.gather(*(self._attempt(session, endpoint, event) for event in due))
                else:
                    await self._wait(events[0].due_at - now if events else None)

    async def _attempt(self, session: aiohttp.ClientSession, endpoint: Endpoint, event: Event) -> None:
        fault, _ = self._faults.meet("webhook")
        name = None if fault is None else fault.fault
        honest = name != "bad_signature"
        taken = name == "lost" or await self._sent(session, endpoint, event, honest=honest)
        if name == "doubled":
            await self._sent(session, endpoint, event, honest=True)
        now = time.time()
        wait = min(endpoint.retry_seconds * 2.0 ** min(event.attempts, 30), _MAX_WAIT_SECONDS)
        given_up = now + wait > event.created_at + _GIVE_UP_SECONDS
        self._store.attempted(event, None if taken or given_up else now + wait)

    async def _wait(self, seconds: float | None) -> None:
        changed = self._changed
        try:
            await asyncio.wait_for(changed.wait(), seconds)
        except TimeoutError:
            return

    async def _sent(
        self, session: aiohttp.ClientSession, endpoint: Endpoint, event: Event, *, honest: bool
    ) -> bool:
        """Whether the receiver took it: 2xx only, redirects are failures."""
        url = self._address(self._store.job(event.video_id))
        headers = self.hooks.headers(endpoint, event.webhook_id, event.body, time.time(), honest)
        if url is None:
            return False
        try:
            async with session.post(
                url, data=event.body.encode(), headers=headers, allow_redirects=False
            ) as response:
                return 200 <= response.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return False
