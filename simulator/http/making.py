"""Makes jobs: their ids, their rows and their clips."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from simulator.calls import Call, Order
from simulator.catalogue import price
from simulator.clips.rendering import Clips
from simulator.clock import Clock
from simulator.fates import fate_of, settles_at
from simulator.jobs import Job
from simulator.profiles import Profile
from simulator.state.ledger import receipt
from simulator.state.store import Store


@dataclass(frozen=True)
class Maker:
    """`made` is called for each new job."""

    store: Store
    clips: Clips
    clock: Clock
    profile: Profile
    render_seconds: float
    expires_seconds: float
    count_ids: bool
    made: Callable[[], None]

    def make(self, call: Call, order: Order) -> Job:
        """The job, with its entry in the ledger."""
        now = time.time()
        fate = replace(fate_of(call.fates), clock_offset=self.clock.offset)
        has_file = self.clips.always_ready
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
            render_seconds=self.render_seconds,
            expires_seconds=self.expires_seconds,
            settles_at=settles_at(fate, ends_at=now + self.render_seconds, has_file=has_file),
            awaits_file=fate.needs_file and not has_file,
            has_reference=order.reference is not None,
            deleted_at=None,
            fate=fate,
            asked=order.asked,
        )
        if order.reference is not None:
            # Before the row, so that a job that survives a crash has what it renders from.
            self.clips.keep_reference(job, order.reference)
        listed = order.price
        if listed is None and order.kind == "create":
            listed = price(order.model, order.size, order.seconds)
        job = self.store.add(job, receipt(call.request, call.raw, order.paid_seconds, listed))
        self.clips.wanted(job)
        self.made()
        return job

    def _id(self, call: Call, now: float) -> str:
        """An id that a test gives becomes the job's own if it is free text that no job has.

        A reused id is that of the oldest job that has ended: that job is then forgotten.
        """
        if call.fault is not None and call.fault.fault == "reused_id":
            before = self.store.oldest_ended(now)
            if before is not None:
                self.clips.remove(before)
                self.store.forget(before, now)
                return before.id
        if call.fault is not None and call.fault.fault == "given_id":
            given = call.fault.params["id"]
            if isinstance(given, str) and given and self.store.job(given) is None:
                return given
        if not self.count_ids:
            return self.profile.new_id(now)
        numbers = itertools.count(self.store.next_count())
        return next(each for each in (f"video_{n}" for n in numbers) if self.store.job(each) is None)
