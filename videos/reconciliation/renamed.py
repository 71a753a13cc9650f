"""A create that was answered with one id, while the list has its video under another."""

import logging

from django.db import IntegrityError

from upstreams.breaker import respecting_retry_after
from upstreams.client.types import Video
from upstreams.clock import database_now
from upstreams.models import Call
from upstreams.registry import Upstream
from videos.models import JobEvent, Submission, locked
from videos.reconciliation.candidates import Candidates
from videos.reconciliation.compared import has_rival
from videos.reconciliation.listing import attempted, walk
from videos.states import UNDECIDED, SubmissionState

logger = logging.getLogger(__name__)


def take_listed_id(submission: Submission, upstream: Upstream) -> bool:
    """Gives a render that was never seen under its id that of its video on the list, if nobody owns it.

    Called before it counts as lost. False if the list shows no such video. True as well if another attempt
    may own it, which is settled first. Raises SoraError.
    """
    if not upstream.dialect.lists or submission.seen_at != submission.accepted_at:
        return False
    videos = _matches(submission, upstream)
    if not videos:
        return False
    undecided = Submission.objects.filter(
        provider=submission.provider_id, match_key=submission.match_key, state__in=UNDECIDED
    )
    # Of two attempts alike, the other one has no video yet.
    return undecided.exists() or has_rival(submission) or _take(submission, videos[0])


def _matches(submission: Submission, upstream: Upstream) -> list[Video]:
    """The videos of the attempt's time that match it and that nobody owns, the earliest first."""
    start, end = attempted(submission)
    candidates = Candidates(submission, upstream.dialect)
    with respecting_retry_after(upstream, Call.LIST):
        for page in walk(upstream):
            candidates.add(page.videos)
            if candidates.overflowed or (page.back_to is not None and page.back_to < start):
                break
    dated = [(video.created_at, video) for video in candidates.unowned() if video.created_at is not None]
    # Under its own id, it would be one that was given the id later.
    others = [each for each in dated if each[1].id != submission.upstream_id]
    near = [each for each in others if start <= each[0] <= end]
    alike = [each for each in near if upstream.dialect.match_key(each[1]) == submission.match_key]
    return [video for _, video in sorted(alike, key=lambda each: (each[0], each[1].id))]


def _take(submission: Submission, video: Video) -> bool:
    """Gives it the id of the video. False if it has ended, or the video has got an owner, meanwhile."""
    try:
        with locked(submission) as (job, submission):
            if submission.state != SubmissionState.RENDERING:
                return False
            before, now = submission.upstream_id, database_now()
            Submission.objects.filter(pk=submission.pk).update(
                upstream_id=video.id,
                upstream_created_at=video.created_at,
                seen_at=now,
                due_at=now,
                missing_since=None,
                missing_polls=0,
            )
            detail = {"upstreamId": video.id, "how": "renamed", "answered": before}
            state = submission.state
            JobEvent.record(job, "submission", state, state, now, number=submission.number, detail=detail)
    except IntegrityError:
        return False
    logger.error(
        "%s was accepted as %s, which the upstream never knew; its list has it as %s.",
        submission,
        before,
        video.id,
    )
    return True
