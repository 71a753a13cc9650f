"""Signed webhooks of ended jobs (Standard Webhooks), retried with exponential backoff."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass

import aiohttp

from simulator.faults import Faults
from simulator.jobs import Job
from simulator.state.records import Event
from simulator.state.store import Store

_TYPES = {"completed": "video.completed", "failed": "video.failed"}
_USER_AGENT = "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"
_ATTEMPT_SECONDS = 10
_GIVE_UP_SECONDS = 72 * 3600
_MAX_WAIT_SECONDS = 3600
_AT_ONCE = 16


@dataclass(frozen=True)
class Endpoint:
    """Where events go; the first retry follows after `retry_seconds`, each next after twice as long."""

    url: str
    secret: str
    retry_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError for an address or a secret that cannot work."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("a webhook URL begins with http:// or https://")
        if not self.secret:
            raise ValueError("a webhook needs a secret, such as whsec_… in base64")
        try:
            self.key()
        except binascii.Error:
            raise ValueError("what follows whsec_ must be base64") from None

    def key(self) -> bytes:
        if self.secret.startswith("whsec_"):
            return base64.b64decode(self.secret.removeprefix("whsec_"), validate=True)
        return self.secret.encode()

    def headers(self, webhook_id: str, body: str, now: float) -> dict[str, str]:
        """The headers that a receiver checks, signed again at each attempt."""
        signed = f"{webhook_id}.{int(now)}.{body}".encode()
        signature = base64.b64encode(hmac.new(self.key(), signed, hashlib.sha256).digest()).decode()
        return {
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": f"v1,{signature}",
        }


class Webhooks:
    """Notices ends of jobs and delivers their events; without an endpoint it only notices."""

    def __init__(self, store: Store, faults: Faults, endpoint: Endpoint | None) -> None:
        self.endpoint = endpoint
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
        kind = _TYPES.get(job.status(now))
        if self.endpoint is None or kind is None:
            return None
        body = {
            "id": f"evt_{secrets.token_hex(16)}",
            "object": "event",
            "created_at": int(now),
            "type": kind,
            "data": {"id": job.id},
        }
        return Event(f"wh_{secrets.token_hex(16)}", job.id, json.dumps(body), now, 0, now)

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
        signed = name != "bad_signature"
        taken = name == "lost" or await _sent(session, endpoint, event, signed=signed)
        if name == "doubled":
            await _sent(session, endpoint, event, signed=True)
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


async def _sent(session: aiohttp.ClientSession, endpoint: Endpoint, event: Event, *, signed: bool) -> bool:
    """Whether the receiver took it: 2xx only, redirects are failures."""
    headers = endpoint.headers(event.webhook_id, event.body, time.time())
    if not signed:
        headers["webhook-signature"] = f"v1,{base64.b64encode(bytes(32)).decode()}"
    try:
        async with session.post(
            endpoint.url, data=event.body.encode(), headers=headers, allow_redirects=False
        ) as response:
            return 200 <= response.status < 300
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return False
