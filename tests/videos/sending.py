"""Submits one job at a time, in the thread of the test."""

from upstreams.registry import Upstream
from videos.lifecycle.sending.outcome import record
from videos.lifecycle.sending.post import make_ready, post
from videos.lifecycle.sending.submit import submit
from videos.models import Submission
from videos.queue.claims.claim import claim


def submit_next(upstream: Upstream) -> bool:
    """Claims one pending job and sends it; False if none may be sent now."""
    return submit(upstream, at_once=1, seconds=0) == 1


def claim_next(upstream: Upstream) -> Submission | None:
    """Claims one pending job; None if none may be sent now."""
    return next(iter(claim(upstream)), None)


def send(submission: Submission, upstream: Upstream) -> None:
    """Posts a claimed submission once and records the outcome."""
    for ready in make_ready([submission], upstream):
        record([(submission, post(ready, upstream))], upstream)
