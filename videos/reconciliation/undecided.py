"""Submissions that wait for a person."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models import Q

from upstreams import registry
from upstreams.client import errors
from upstreams.client.dialects import Dialect
from upstreams.client.types import Video
from upstreams.clock import database_now
from upstreams.registry import Upstream
from videos.models import Submission
from videos.reconciliation.absence import needs_person
from videos.reconciliation.listing import attempted, may_be_its, unowned, walk
from videos.states import SubmissionState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Undecided:
    """A submission that waits for a person, with the videos of its time that nobody owns."""

    submission: Submission
    age: timedelta
    candidates: tuple[Video, ...]
    # Whether the list was read back to it.
    searched: bool
    # Of its upstream, if that is configured.
    dialect: Dialect | None
    # Why its list can never prove it absent; "" if it may.
    reason: str = ""


def undecided() -> Iterator[Undecided]:
    """The submissions that are still unknown after their window, oldest first."""
    now = database_now()
    window = timedelta(seconds=settings.SORA_RECONCILE_SECONDS[-1])
    # Without a due_at it is not searched for: the dialect has no list.
    waiting = Submission.objects.filter(
        Q(due_at__isnull=True) | Q(unknown_at__lte=now - window), state=SubmissionState.UNKNOWN
    )
    found = list(waiting.select_related("job", "provider").order_by("created_at"))
    listed: dict[str, tuple[dict[str, Video], bool]] = {}
    for upstream in registry.configured():
        mine = [each for each in found if each.provider.name == upstream.name]
        listed[upstream.name] = _listed(upstream, mine) if mine and upstream.dialect.lists else ({}, False)
    for submission in found:
        its = registry.configured().get(submission.provider.name)
        age = now - submission.created_at
        if its is None:
            yield Undecided(submission, age, (), searched=False, dialect=None)
            continue
        videos, searched = listed[its.name]
        possible = {
            video.id: video for video in videos.values() if may_be_its(video, submission, its.dialect)
        }
        candidates = unowned(submission.provider, possible)
        reason = needs_person(submission.job, submission, its)
        yield Undecided(submission, age, candidates, searched, its.dialect, reason)


def _listed(upstream: Upstream, waiting: list[Submission]) -> tuple[dict[str, Video], bool]:
    """The videos within AUDIT_PAGES of the list, and whether these reach back to the oldest of them."""
    start = min(attempted(each)[0] for each in waiting)
    listed: dict[str, Video] = {}
    try:
        for page in walk(upstream, most=settings.AUDIT_PAGES):
            listed |= {
                video.id: video
                for video in page.videos
                if any(may_be_its(video, each, upstream.dialect) for each in waiting)
            }
            if page.fault:
                break
            if page.ended or (page.back_to is not None and page.back_to < start):
                return listed, True
    except errors.SoraError as error:
        logger.warning("The list of %s could not be read: %s", upstream.name, error)
    return listed, False
