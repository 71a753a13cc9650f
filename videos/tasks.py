"""Celery tasks of jobs. If one is lost, doubled or late, only the delay changes."""

import logging
import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from celery import Task, shared_task
from django.conf import settings

from api.repeats import repeat
from upstreams import registry
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep as sweep_provider
from videos.lifecycle.sending.submit import submit as submit_to
from videos.models import Job
from videos.previews.make import make_next
from videos.queue import dispatch as dispatching
from videos.queue.attend import Due
from videos.queue.attend import attend as attend_to_all
from videos.queue.slots import Kind, slot
from videos.queue.wake import publish
from videos.reconciliation.audit import audit_if_due
from videos.reconciliation.restored.books import may_create, was_compared
from videos.references.sweep import sweep_references
from videos.results.media import removal_problem
from videos.retention.archive import archive_some
from videos.retention.removal import remove_due
from videos.retention.reservations import forget_some
from videos.retention.sweep import sweep_results
from videos.usage.count import count_some
from videos.usage.stored import count_older, fold

logger = logging.getLogger(__name__)


class _Spacing:
    """At least half an interval of beat's, by this machine's own clock, lies between two dispatches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: float | None = None

    def is_over(self) -> bool:
        """Whether the last one is long enough ago; then the next one begins now."""
        now = time.monotonic()
        with self._lock:
            if self._last is not None and now - self._last < settings.DISPATCH_SECONDS / 2:
                return False
            self._last = now
            return True


_spacing = _Spacing()
_drawing: Final = threading.Lock()
# However much there is, a step of a message is carried out for no longer than this.
_LONGEST_SECONDS: Final = 5.0


@shared_task(name="videos.dispatch", bind=True)
def dispatch(self: "Task[Any, Any]", /, **_: Any) -> None:
    """Finds what is due and hands it out. Of messages that have piled up, this process carries out one."""
    if not self.request.called_directly and not _spacing.is_over():
        return
    for work in dispatching.all_due_work():
        publish(work.task, **work.arguments)


@shared_task(name="videos.submit")
def submit(*, provider: str = "", **_: Any) -> None:
    """Submits pending jobs until none may be submitted, to one provider or, the preferred first, to all."""
    _compare_all()
    for upstream in _upstreams(provider):
        with slot(Kind.SEND, upstream.name) as free:
            if free and may_create(upstream):
                submit_to(upstream)


def _compare_all() -> None:
    """Compares the lists of all with our books, as a process does before it sends its first create.

    A slow one takes only a slot of its own, so the next message does not wait for it.
    """
    for upstream in registry.configured():
        if not was_compared(upstream):
            with slot(Kind.SEND, upstream.name) as free:
                if free:
                    may_create(upstream)


@shared_task(name="videos.sweep")
def sweep(*, provider: str = "", **_: Any) -> None:
    """Polls the renders that are due."""
    for upstream in _upstreams(provider):
        sweep_provider(upstream)


@shared_task(name="videos.attend")
def attend(*, provider: str, kind: str, **_: Any) -> None:
    """Fetches, reconciles or drops the submissions of this kind that are due (videos.queue.attend.Due)."""
    due = Due(kind)
    for upstream in _upstreams(provider):
        with slot(
            Kind.DOWNLOAD if due.is_fetch else Kind.CALL, upstream.name, repeated=due.is_repeated
        ) as free:
            if free:
                attend_to_all(upstream, due)


@shared_task(name="videos.probe")
def probe(*, provider: str = "", **_: Any) -> None:
    """Probes a paused provider."""
    for upstream in _upstreams(provider):
        dispatching.probe(upstream)


@shared_task(name="videos.audit")
def audit(*, provider: str = "", **_: Any) -> None:
    """Compares the upstream's list with our rows, if that is due."""
    for upstream in _upstreams(provider):
        with slot(Kind.CALL, upstream.name) as free:
            if free:
                audit_if_due(upstream)


def _upstreams(provider: str) -> Iterable[Upstream]:
    """The one of this name, or all if a message of an older version names none."""
    found = registry.configured()
    if not provider:
        return found
    named = found.get(provider)
    return () if named is None else (named,)


@shared_task(name="videos.sweep_references")
def sweep_pictures(**_: Any) -> None:
    """Removes pictures that no job uses."""
    sweep_references()


@shared_task(name="videos.count_usage")
def count_usage(**_: Any) -> None:
    """Counts jobs that have ended, however many for a few seconds at most."""
    repeat(count_some, within=_LONGEST_SECONDS)
    repeat(lambda: count_older(Job.objects.all()), within=_LONGEST_SECONDS)
    fold()


@shared_task(name="videos.sweep_results")
def clean_results(**_: Any) -> None:
    """Removes the files of results that have been kept for long enough, and those that no job uses."""
    repeat(remove_due, within=_LONGEST_SECONDS)
    if not removal_problem():
        sweep_results()


@shared_task(name="videos.make_previews")
def make_previews(**_: Any) -> None:
    """Makes small pictures of completed videos, one after the other, in one thread of this process."""
    if _drawing.acquire(blocking=False):
        try:
            repeat(make_next, within=_LONGEST_SECONDS)
        finally:
            _drawing.release()


@shared_task(name="videos.archive")
def archive(**_: Any) -> None:
    """Archives and removes what ended long ago, however much for some seconds at most."""
    try:
        repeat(partial(archive_some, Job.objects.filter(group=None)), within=_LONGEST_SECONDS)
    except OSError as error:
        logger.error("Nothing is archived: %s", error)
        return
    repeat(forget_some, within=_LONGEST_SECONDS)
