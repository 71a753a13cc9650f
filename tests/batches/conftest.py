"""Batches, and what upstreams do to their jobs."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from accounts.models import User
from batches.items import Items, Listed
from batches.lifecycle.create import create_batch
from batches.models import Batch
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission
from videos.results.store import store
from videos.states import SubmissionState

MakeBatch = Callable[..., Batch]


@pytest.fixture
def make_batch(owner: User, upstream: Upstream) -> MakeBatch:
    """A batch of so many jobs, whose prompts are "boat 1", "boat 2" and so on."""

    def make(count: int = 3, *, by: User | None = None, **settings: Any) -> Batch:
        videos = [{"prompt": f"boat {number + 1}"} for number in range(count)]
        items = Items(Listed(videos), {}, by or owner)
        return create_batch(items, owner=by or owner, api_key=None, **settings).batch

    return make


class Renders:
    """Sends the jobs of batches, and has the upstream finish them."""

    def __init__(self, upstream: Upstream, sora: ScriptedClient) -> None:
        self._upstream = upstream
        self._sora = sora

    def send(self) -> int:
        """Sends what may be sent, and says how many."""
        sent = 0
        while submit_next(self._upstream):
            sent += 1
        return sent

    def end(self, prompt: str, *, well: bool = True) -> None:
        """Finishes the render of this prompt, and keeps its file."""
        submission = Submission.objects.get(job__prompt=prompt, state=SubmissionState.RENDERING)
        assert submission.upstream_id
        (self._sora.complete if well else self._sora.fail)(submission.upstream_id)
        # A sweep that was slow makes the next one wait.
        Provider.objects.update(sweep_due_at=None)
        sweep(self._upstream)
        submission.refresh_from_db()
        if well:
            store(submission, self._upstream)

    def run(self, batch: Batch, *, failing: tuple[str, ...] = ()) -> None:
        """Carries all its jobs to their end."""
        while self.send():
            for job in list(Job.objects.filter(group=batch.pk, status="processing")):
                self.end(job.prompt, well=job.prompt not in failing)


@pytest.fixture
def renders(upstream: Upstream, sora: ScriptedClient) -> Renders:
    return Renders(upstream, sora)


def statuses(batch_id: UUID) -> list[str]:
    """Of its jobs, in the order of the items."""
    return list(Job.objects.filter(group=batch_id).order_by("id").values_list("status", flat=True))
