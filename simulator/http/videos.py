"""The operations of `/v1/videos`: what each is asked, checks and answers."""

import asyncio
import time
from dataclasses import replace
from typing import Any

from simulator.calls import Call, Order
from simulator.catalogue import MAX_EXTENDED_SECONDS, MAX_EXTENSIONS, Catalogue
from simulator.clips import images
from simulator.clips.rendering import Clips
from simulator.http import validation
from simulator.http.answers import Answer
from simulator.http.bodies import Body, Upload
from simulator.http.characters import Characters
from simulator.http.errors import invalid, invalid_value, missing, still_processing, video_not_found
from simulator.http.making import Maker
from simulator.http.uploads import size_and_seconds
from simulator.jobs import Job
from simulator.profiles.parts.view import View
from simulator.state.store import Store

_TYPES = {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}


class Videos:
    """The handlers; each raises ApiError for a refusal."""

    def __init__(self, store: Store, clips: Clips, catalogue: Catalogue, maker: Maker, model: str) -> None:
        self._store = store
        self._characters = Characters(store, clips)
        self._clips = clips
        self._catalogue = catalogue
        self._maker = maker
        self._profile = maker.profile
        self._model = model

    async def create(self, call: Call) -> Answer:
        if self._profile.order is not None:
            order = self._profile.order(call, self._model)
            self._profile.limits(self._store, time.time())
            return self._make(call, order)
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
        view = self._view(self._visible(call.video_id))
        return Answer.of(self._profile.video(view), self._profile.retrieved_status(view))

    async def list(self, call: Call) -> Answer:
        query = call.request.query
        if self._profile.page is not None:
            return self._page(call)
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
            "data": [self._profile.video(self._view(job)) for job in shown],
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
            "has_more": len(jobs) > limit or (looping and bool(shown)),
        }
        return Answer.of(page)

    def _page(self, call: Call) -> Answer:
        """The list of a profile that has a way of its own."""
        looping = call.fault is not None and call.fault.fault == "page_loop"
        query = {
            name: value for name, value in call.request.query.items() if not (looping and name == "after")
        }
        assert self._profile.page is not None
        page = self._profile.page(query, self._store.listed(time.time()))
        videos = [self._profile.video(self._view(job)) for job in page.jobs]
        listed: dict[str, Any] = {"object": "list", "data": videos}
        if self._profile.paged:
            ends = [job.id for job in page.jobs]
            listed |= {"first_id": ends[0] if ends else None, "last_id": ends[-1] if ends else None}
            listed["has_more"] = page.has_more or (looping and bool(ends))
        return Answer.of(listed)

    async def delete(self, call: Call) -> Answer:
        job = self._visible(call.video_id)
        now = time.time()
        shown = self._profile.deleted(self._view(job))
        if job.running(now):
            if self._profile.deletes == "refuses":
                raise still_processing()
            if self._profile.deletes == "cancels":
                self._store.decide(job, replace(job.fate, ends_as="cancelled", never_ends=False), now)
        self._store.delete(job, now)
        self._clips.remove(job)
        return Answer.of(shown)

    async def content(self, call: Call) -> Answer:
        job = self._visible(call.video_id)
        variant = self._profile.content(call.request.query, self._view(job))
        path = await self._clips.fetch(job, variant)
        name = self._profile.attachment
        headers = {} if name is None else {"Content-Disposition": name(job)}
        return Answer(
            200,
            path,
            _TYPES[variant],
            headers,
            ranges=self._profile.ranges,
            chunked=self._profile.chunked,
        )

    def _make(self, call: Call, order: Order) -> Answer:
        job = self._maker.make(call, order)
        view = View(job, time.time(), self._profile.words, just_created=True)
        return Answer.of(self._profile.video(view), self._profile.created_status)

    def _view(self, job: Job) -> View:
        return View(job, time.time(), self._profile.words)

    def _visible(self, video_id: str) -> Job:
        job = self._store.job(video_id)
        if job is None or job.deleted_at is not None or job.fate.vanished:
            raise self._profile.unknown(video_id)
        return job

    def _finished(self, video_id: str) -> Job:
        job = self._visible(video_id)
        if not job.completed(time.time()):
            raise self._profile.not_ready(video_id)
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
