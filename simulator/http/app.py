"""The server: authentication, faults, headers and counters around the operations."""

import asyncio
import secrets
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from aiohttp import web
from aiohttp.typedefs import Middleware

from simulator.calls import Call
from simulator.clips.rendering import RenderFailed
from simulator.clock import Clock
from simulator.counts import Counts
from simulator.faults import Armed, Faults
from simulator.http.answers import Answer, changed, instead, reset, send
from simulator.http.characters import Characters
from simulator.http.control import Control
from simulator.http.errors import ApiError
from simulator.http.videos import Videos
from simulator.profiles import PROFILES, Profile
from simulator.profiles.profile import Show
from simulator.state.store import Store
from simulator.webhooks import Webhooks

_MAX_BODY_BYTES = 64 * 1024 * 1024

Handler = Callable[[Call], Awaitable[Answer]]
Served = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Gate:
    """What every call of the API passes."""

    faults: Faults
    webhooks: Webhooks
    counts: Counts
    clock: Clock
    api_key: str | None
    poll_after_ms: int | None
    verbose: bool
    profile: Profile

    def serve(
        self, operation: str, handler: Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The aiohttp handler of one operation."""

        async def served(request: web.Request) -> web.StreamResponse:
            self.counts.received[operation] += 1
            fault, fates = self.faults.meet(operation)
            if fault is not None and fault.fault == "refuse":
                return self._dropped(request, operation)
            started = time.monotonic()
            call = Call(request, await request.read(), fault, fates)
            answer = instead(fault, request, self.profile) if fault is not None else None
            if answer is None:
                answer = await self._handled(call, operation, handler)
                if answer is None:
                    return self._dropped(request, operation)
            self.counts.answered[operation][str(answer.status)] += 1
            elapsed = round((time.monotonic() - started) * 1000)
            headers = {"Date": self.clock.date()}
            if self.profile.openai_headers:
                headers["x-request-id"] = f"req_{secrets.token_hex(16)}"
                headers["openai-processing-ms"] = str(elapsed)
            if self.poll_after_ms is not None and operation != "content":
                headers["openai-poll-after-ms"] = str(self.poll_after_ms)
            if self.verbose:
                sys.stderr.write(f"{request.method} {request.path_qs} {answer.status} {elapsed} ms\n")
            answer = replace(answer, headers={**headers, **answer.headers})
            return await send(request, answer, fault)

        return served

    async def _handled(self, call: Call, operation: str, handler: Handler) -> Answer | None:
        """The answer as the fault leaves it; None is a dropped connection."""
        fault = call.fault
        name = None if fault is None else fault.fault
        if fault is not None and name == "slow" and not fault.params["handled_first"]:
            await asyncio.sleep(fault.params["seconds"])
        answer = await self._answer(call, operation, handler)
        if fault is None:
            return answer
        if name == "slow" and fault.params["handled_first"]:
            await asyncio.sleep(fault.params["seconds"])
        if name in ("created_then_drop", "deleted_then_drop") and answer.status < 400:
            return None
        if name == "webhook_early" and answer.status < 400:
            await self._announced(answer, fault)
        return changed(fault, answer, self.profile)

    async def _answer(self, call: Call, operation: str, handler: Handler) -> Answer:
        try:
            self._authenticate(call.request, operation)
            return await handler(call)
        except ApiError as error:
            return Answer.refusal(error, self.profile.body)
        except RenderFailed as error:
            refusal = ApiError(500, f"The render failed: {error}", type="server_error")
            return Answer.refusal(refusal, self.profile.body)

    async def _announced(self, answer: Answer, fault: Armed) -> None:
        video_id = answer.document()["id"]
        await self.webhooks.attempted(video_id, fault.params["seconds"])

    def _authenticate(self, request: web.Request, operation: str) -> None:
        if operation in self.profile.open:
            return
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else ""
        if self.api_key is None and (key or not self.profile.needs_key):
            return
        if not key or key != self.api_key:
            raise self.profile.unauthorized(key)

    def _dropped(self, request: web.Request, operation: str) -> web.Response:
        self.counts.answered[operation]["dropped"] += 1
        reset(request)
        # Goes nowhere: the connection is gone.
        return web.Response()


def application(
    gate: Gate, videos: Videos, characters: Characters, control: Control, store: Store, model: str
) -> web.Application:
    """All routes of the profile, with the static segments ahead of the ids."""
    app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[_envelopes(gate.profile)])
    for operation, (path, show) in gate.profile.extras.items():

        async def extra(call: Call, show: Show = show) -> Answer:
            return Answer.of(show(model, [(job, receipt.price) for job, receipt in store.ledger()]))

        app.router.add_route("GET", path, gate.serve(operation, extra))
    routes: list[tuple[str, str, str, Handler]] = [
        ("POST", "/v1/videos", "create", videos.create),
        ("GET", "/v1/videos", "list", videos.list),
        ("POST", "/v1/videos/edits", "edit", videos.edit),
        ("POST", "/v1/videos/extensions", "extend", videos.extend),
        ("POST", "/v1/videos/characters", "create_character", characters.create),
        ("GET", "/v1/videos/characters/{character_id}", "retrieve_character", characters.retrieve),
        ("GET", "/v1/videos/{video_id}", "retrieve", videos.retrieve),
        ("DELETE", "/v1/videos/{video_id}", "delete", videos.delete),
        ("GET", "/v1/videos/{video_id}/content", "content", videos.content),
        ("POST", "/v1/videos/{video_id}/remix", "remix", videos.remix),
    ]
    for method, path, operation, handler in routes:
        if operation in gate.profile.operations:
            app.router.add_route(method, path, gate.serve(operation, handler))
    app.add_routes(control.routes())
    return app


def _envelopes(profile: Profile) -> Middleware:
    """Answers every error in the server's envelope, and those of the controls in OpenAI's."""

    @web.middleware
    async def enveloped(request: web.Request, handler: Served) -> web.StreamResponse:
        shown = PROFILES["openai"] if request.path.startswith("/_simulator/") else profile
        try:
            return await handler(request)
        except ConnectionError:
            # The caller went away in mid-answer.
            return web.Response()
        except web.HTTPRequestEntityTooLarge:
            error = ApiError(413, f"The request is larger than {_MAX_BODY_BYTES} bytes.")
        except web.HTTPException as refused:
            error = shown.no_route(refused.status, request.method, request.path)
        except ApiError as refusal:
            error = refusal
        except Exception:
            traceback.print_exc()
            error = ApiError(
                500, "The simulator has a bug; its standard error says which.", type="server_error"
            )
        headers = {"x-request-id": f"req_{secrets.token_hex(16)}"} if shown.openai_headers else {}
        return web.Response(
            status=error.status, body=shown.body(error), content_type="application/json", headers=headers
        )

    return enveloped
