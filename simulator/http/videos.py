"""The operations of `/v1/videos`: what each is asked, checks and answers."""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from simulator.calls import Call, Order
from simulator.catalogue import MAX_EXTENDED_SECONDS, MAX_EXTENSIONS, Catalogue, price
from simulator.clips import images
from simulator.clips.rendering import Clips
from simulator.clock import Clock
from simulator.fates import fate_of, settles_at
from simulator.http import validation
from simulator.http.answers import Answer
from simulator.http.bodies import Body, Upload
from simulator.http.characters import Characters
from simulator.http.errors import (
    content_expired,
    invalid,
    invalid_value,
    missing,
    not_ready,
    still_processing,
    video_not_found,
)
from simulator.http.uploads import size_and_seconds
from simulator.jobs import Job, new_id
from simulator.state.ledger import receipt
from simulator.state.store import Store

_VARIANTS = {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}


class Videos:
    """The handlers; each raises ApiError for a refusal."""

    def __init__(
        self,
        store: Store,
        clips: Clips,
        catalogue: Catalogue,
        render_seconds: float,
        expires_seconds: float,
        clock: Clock,
        made: Callable[[], None],
        *,
        count_ids: bool,
    ) -> None:
        self._store = store
        self._characters = Characters(store, clips)
        self._clips = clips
        self._catalogue = catalogue
        self._render_seconds = render_seconds
        self._expires_seconds = expires_seconds
        self._clock = clock
        self._made = made
        self._count_ids = count_ids

    async def create(self, call: Call) -> Answer:
        body = call.body
        prompt = validation.prompt(body)
        model = validation.model(body)
        seconds = validation.seconds(body, self._catalogue)
        size = validation.size(body, model, self._catalogue)
        reference = await self._reference(body, size)
        self._characters.check(validation.characters(body), prompt)
        return self._make(call, Order("create", prompt, model, size, seconds, seconds, reference=reference))

    async def remix(self, call: Call) -> Answer:
        prompt = validation.prompt(call.body)
        source = self._finished(call.video_id)
        return self._make(
            call,
            Order("remix", prompt, source.model, source.size, source.seconds, source.seconds, source.id),
        )

    async def edit(self, call: Call) -> Answer:
        body = call.body
        prompt = validation.prompt(body)
        video = validation.source(body)
        if isinstance(video, Upload):
            if not validation.has_model(body):
                raise missing("model")
            size, seconds = await size_and_seconds(self._clips, video)
            return self._make(call, Order("edit", prompt, validation.model(body), size, seconds, seconds))
        source = self._finished(video)
        return self._make(
            call, Order("edit", prompt, source.model, source.size, source.seconds, source.seconds, source.id)
        )

    async def extend(self, call: Call) -> Answer:
        body = call.body
        prompt = validation.prompt(body)
        seconds = validation.seconds(body, Catalogue(), required=True)
        video = validation.source(body)
        if isinstance(video, Upload):
            size, before = await size_and_seconds(self._clips, video)
            model, source_id, extensions = validation.model(body), None, 1
        else:
            source = self._finished(video)
            size, before, model = source.size, source.seconds, source.model
            source_id, extensions = source.id, source.extensions + 1
        if extensions > MAX_EXTENSIONS:
            raise invalid("video", f"A video can be extended up to {MAX_EXTENSIONS} times.")
        if before + seconds > MAX_EXTENDED_SECONDS:
            raise invalid("seconds", f"An extended video is up to {MAX_EXTENDED_SECONDS} seconds long.")
        order = Order("extend", prompt, model, size, before + seconds, seconds, source_id, extensions)
        return self._make(call, order)

    async def retrieve(self, call: Call) -> Answer:
        return Answer.of(self._visible(call.video_id).video(time.time()))

    async def list(self, call: Call) -> Answer:
        query = call.request.query
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise invalid_value("order", order, ("asc", "desc"))
        limit = validation.limit(query.get("limit"))
        after: int | None = None
        looping = call.fault is not None and call.fault.fault == "page_loop"
        if "after" in query and not looping:
            previous = self._store.job(query["after"])
            if previous is None:
                raise video_not_found(query["after"])
            after = previous.number
        now = time.time()
        jobs = self._store.page(now=now, after=after, limit=limit + 1, descending=order == "desc")
        shown = jobs[:limit]
        page: dict[str, Any] = {
            "object": "list",
            "data": [job.video(now) for job in shown],
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
            "has_more": len(jobs) > limit or (looping and bool(shown)),
        }
        return Answer.of(page)

    async def delete(self, call: Call) -> Answer:
        job = self._visible(call.video_id)
        now = time.time()
        if job.running(now):
            raise still_processing()
        self._store.delete(job, now)
        self._clips.remove(job)
        return Answer.of({"id": job.id, "object": "video.deleted", "deleted": True})

    async def content(self, call: Call) -> Answer:
        variant = call.request.query.get("variant", "video")
        if variant not in _VARIANTS:
            raise invalid_value("variant", variant, tuple(_VARIANTS))
        job = self._visible(call.video_id)
        now = time.time()
        if not job.completed(now):
            raise not_ready()
        if job.content_expired(now):
            raise content_expired()
        path = await self._clips.fetch(job, variant)
        return Answer(200, path, _VARIANTS[variant])

    def _make(self, call: Call, order: Order) -> Answer:
        now = time.time()
        fate = replace(fate_of(call.fates), clock_offset=self._clock.offset)
        has_file = self._clips.always_ready
        job = Job(
            number=0,
            id=self._id(call, now),
            kind=order.kind,
            created_at=now,
            model=order.model,
            seconds=order.seconds,
            size=order.size,
            prompt=order.prompt,
            source_id=order.source_id,
            extensions=order.extensions,
            render_seconds=self._render_seconds,
            expires_seconds=self._expires_seconds,
            settles_at=settles_at(fate, ends_at=now + self._render_seconds, has_file=has_file),
            awaits_file=fate.needs_file and not has_file,
            has_reference=order.reference is not None,
            deleted_at=None,
            fate=fate,
        )
        if order.reference is not None:
            # Before the row, so that a job that survives a crash has what it renders from.
            self._clips.keep_reference(job, order.reference)
        listed = price(order.model, order.size, order.seconds) if order.kind == "create" else None
        job = self._store.add(job, receipt(call.request, call.raw, order.paid_seconds, listed))
        self._clips.wanted(job)
        self._made()
        return Answer.of(job.video(now, just_created=True))

    def _id(self, call: Call, now: float) -> str:
        """An id that a test gives becomes the job's own if it is free text that no job has.

        A reused id is that of the oldest job that has ended: that job is then forgotten.
        """
        if call.fault is not None and call.fault.fault == "reused_id":
            before = self._store.oldest_ended(now)
            if before is not None:
                self._clips.remove(before)
                self._store.forget(before, now)
                return before.id
        if call.fault is not None and call.fault.fault == "given_id":
            given = call.fault.params["id"]
            if isinstance(given, str) and given and self._store.job(given) is None:
                return given
        if not self._count_ids:
            return new_id(now)
        numbers = itertools.count(self._store.next_count())
        return next(each for each in (f"video_{n}" for n in numbers) if self._store.job(each) is None)

    def _visible(self, video_id: str) -> Job:
        job = self._store.job(video_id)
        if job is None or job.deleted_at is not None or job.fate.vanished:
            raise video_not_found(video_id)
        return job

    def _finished(self, video_id: str) -> Job:
        job = self._visible(video_id)
        if not job.completed(time.time()):
            raise not_ready()
        return job

    async def _reference(self, body: Body, size: str) -> bytes | None:
        given = validation.reference(body)
        if given is None:
            return None
        if isinstance(given, Upload):
            data = images.check_upload(given, "input_reference")
        else:
            data = await images.fetch(given.url, given.param)
        await asyncio.to_thread(images.check_pixels, data, size, "input_reference")
        return data
