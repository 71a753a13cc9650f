"""What tests of videos that are made from another one share."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from upstreams.offer.catalogue import SORA
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job
from videos.results.store import store

Make = Callable[..., Job]


def complete(job: Job, upstream: Upstream) -> Job:
    """Sends, renders and stores it."""
    client: Any = upstream.client
    assert submit_next(upstream)
    client.complete(str(only(job).upstream_id))
    sweep(upstream)
    store(only(job), upstream)
    job.refresh_from_db()
    return job


def listed(upstream: Upstream, price: str) -> Upstream:
    """The upstream with this price per second for what is made from another video."""
    models = {
        name: replace(model, operation_prices={"": Decimal(price)}) for name, model in SORA.models.items()
    }
    return replace(upstream, catalogue=replace(SORA, models=models))
