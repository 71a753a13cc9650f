"""Celery tasks of jobs. If one is lost, doubled or late, only the delay changes."""

from typing import Any

from celery import shared_task

from upstreams.registry import configured
from videos.lifecycle.following.sweep import sweep as sweep_provider
from videos.lifecycle.send import submit_next
from videos.models import Submission
from videos.queue import dispatch as dispatching
from videos.queue.slots import Kind, slot
from videos.queue.wake import publish
from videos.reconciliation.audit import audit_if_due
from videos.reconciliation.books import may_create

# How many one message submits before it makes room for other work.
_MAX_SUBMITS = 50


@shared_task(name="videos.dispatch")
def dispatch(**_: Any) -> None:
    """Finds what is due and hands it out."""
    for work in dispatching.due_work(configured()):
        publish(work.task, **work.arguments)


@shared_task(name="videos.submit")
def submit(**_: Any) -> None:
    """Submits pending jobs until none may be submitted."""
    with slot(Kind.SEND) as free:
        may_send = free and may_create(configured())
        for _number in range(_MAX_SUBMITS if may_send else 0):
            if not submit_next(configured()):
                break


@shared_task(name="videos.sweep")
def sweep(**_: Any) -> None:
    """Polls the renders that are due."""
    sweep_provider(configured())


@shared_task(name="videos.advance")
def advance(*, submission_id: int, **_: Any) -> None:
    """Reconciles, stores or drops one submission."""
    submission = Submission.objects.select_related("job", "provider").filter(pk=submission_id).first()
    if submission is None:
        return
    kind = Kind.DOWNLOAD if dispatching.is_fetch(submission) else Kind.CALL
    with slot(kind, repeated=submission.attempts > 0) as free:
        if free:
            dispatching.advance(submission, configured())


@shared_task(name="videos.probe")
def probe(**_: Any) -> None:
    """Probes a paused provider."""
    dispatching.probe(configured())


@shared_task(name="videos.audit")
def audit(**_: Any) -> None:
    """Compares the upstream's list with our rows, if that is due."""
    with slot(Kind.CALL) as free:
        if free:
            audit_if_due(configured())
