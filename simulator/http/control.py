"""`/_simulator/…`: faults, ledger, counters and the webhook, for tests and for the curious; no key needed."""

import json
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from simulator.clock import Clock
from simulator.counts import Counts
from simulator.fates import decide
from simulator.fault_kinds import OPERATIONS
from simulator.faults import BadFault, Faults
from simulator.http.errors import invalid, video_not_found
from simulator.state.ledger import entry
from simulator.state.store import Store
from simulator.webhooks import Webhooks

_LEDGER_PIECE = 200
_MAX_OFFSET = 1_000_000


@dataclass(frozen=True)
class Control:
    """The handlers of what upstream does not have."""

    store: Store
    faults: Faults
    webhooks: Webhooks
    counts: Counts
    clock: Clock
    bill_failed: bool

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_simulator/faults", self.show_faults),
            web.post("/_simulator/faults", self.arm),
            web.delete("/_simulator/faults", self.clear_faults),
            web.get("/_simulator/ledger", self.ledger),
            web.get("/_simulator/requests", self.requests),
            web.delete("/_simulator/requests", self.clear_requests),
            web.post("/_simulator/webhook", self.set_webhook),
            web.post("/_simulator/clock", self.set_clock),
            web.delete("/_simulator/jobs", self.forget_jobs),
        ]

    async def show_faults(self, request: web.Request) -> web.Response:
        return web.json_response({"data": self.faults.describe()})

    async def arm(self, request: web.Request) -> web.Response:
        body = await _object(request)
        try:
            armed = self.faults.arm(body)
        except BadFault as error:
            raise invalid(None, str(error)) from None
        if armed.video_id is None:
            return web.json_response(armed.describe())
        job = self.store.job(armed.video_id) if isinstance(armed.video_id, str) else None
        if job is None:
            raise video_not_found(str(armed.video_id))
        now = time.time()
        decide(self.store, job, armed, now)
        self.webhooks.notify()
        decided = self.store.job(job.id)
        assert decided is not None
        return web.json_response(decided.video(now))

    async def clear_faults(self, request: web.Request) -> web.Response:
        self.faults.clear()
        return web.json_response({"data": []})

    async def ledger(self, request: web.Request) -> web.StreamResponse:
        """All entries, oldest first, or `limit` of them after the entry numbered `after`."""
        after, limit = (_whole(request, name, default) for name, default in (("after", 0), ("limit", -1)))
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)
        await response.write(b'{"data": [')
        separator = b""
        while limit != 0:
            piece = _LEDGER_PIECE if limit < 0 else min(limit, _LEDGER_PIECE)
            entries = list(self.store.ledger(after=after, limit=piece))
            for job, receipt in entries:
                after = job.number
                document = entry(job, receipt, bill_failed=self.bill_failed)
                await response.write(separator + json.dumps(document).encode())
                separator = b", "
            if len(entries) < piece:
                break
            limit -= len(entries) if limit > 0 else 0
        await response.write(b"]}")
        await response.write_eof()
        return response

    async def requests(self, request: web.Request) -> web.Response:
        names = sorted(OPERATIONS)
        received = {name: self.counts.received[name] for name in names}
        return web.json_response({"received": received, "answered": self.counts.answered})

    async def clear_requests(self, request: web.Request) -> web.Response:
        self.counts.clear()
        return await self.requests(request)

    async def set_webhook(self, request: web.Request) -> web.Response:
        """`{"url", "secret", "retry_seconds"}`; a null url ends deliveries."""
        body = await _object(request)
        url = body.get("url")
        try:
            retry_seconds = float(body.get("retry_seconds", 1.0))
            self.webhooks.endpoint = self.webhooks.hooks.endpoint(
                None if url is None else str(url), str(body.get("secret") or ""), retry_seconds
            )
        except (TypeError, ValueError) as error:
            raise invalid(None, str(error)) from None
        self.webhooks.notify()
        return web.json_response({"url": url})

    async def set_clock(self, request: web.Request) -> web.Response:
        """`{"offset"}` in seconds: steps the clock that is shown."""
        offset = (await _object(request)).get("offset")
        if isinstance(offset, bool) or not isinstance(offset, int | float) or abs(offset) > _MAX_OFFSET:
            raise invalid("offset", f"'offset' must be seconds, up to {_MAX_OFFSET} either way.")
        self.clock.offset = float(offset)
        return web.json_response({"offset": self.clock.offset})

    async def forget_jobs(self, request: web.Request) -> web.Response:
        """Drops all jobs, as a server does that keeps them in memory and is started again."""
        return web.json_response({"forgotten": self.store.forget_all(time.time())})


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise invalid(None, "The body must be a JSON object.")
    return body


def _whole(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise invalid(name, f"'{name}' must be a whole number.") from None
