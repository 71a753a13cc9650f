"""Makes claimed submissions ready to be posted, and posts them."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from django.db.models import Q

from upstreams.client.types import CreateRequest, Video
from upstreams.clock import in_database
from upstreams.registry import Upstream
from videos.lifecycle.callbacks import callback_address
from videos.lifecycle.outcomes import record_unsent
from videos.lifecycle.sending.gone import record_picture_gone, record_source_gone
from videos.lifecycle.sending.sources import problem_of_source
from videos.log_context import about
from videos.models import Submission
from videos.queue.holds import ANSWERED_FOR
from videos.queue.isolation import isolated
from videos.references.load import ReferenceGone, pictures_of
from videos.states import JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# Between two tries while the media folder cannot be read. Each one is a row, and takes a place in the rate of
# the upstream, so they become rarer.
_MEDIA_SECONDS: Final = 5.0
_MEDIA_MAX_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A submission that may be posted. `ends`: by time.monotonic(), when its POST must have ended."""

    submission: Submission
    request: CreateRequest
    ends: float


def make_ready(submissions: Iterable[Submission], upstream: Upstream) -> list[Ready]:
    """Those that may be posted now. What became of the others is recorded."""
    # Before the last check, so that a worker that is delayed after it has no time left and posts nothing.
    ends = time.monotonic() + upstream.deadline
    found = []
    for submission in submissions:
        # What it raises leaves the submission to its lease.
        with isolated(submission):
            if (request := _request(submission, upstream)) is not None:
                found.append(Ready(submission, request, ends))
    allowed = _may_send([each.submission for each in found], upstream)
    for each in found:
        if each.submission.pk not in allowed:
            with isolated(each.submission):
                record_unsent(each.submission, "withdrawn", wait=0)
    return [each for each in found if each.submission.pk in allowed]


def post(ready: Ready, upstream: Upstream) -> Video | Exception:
    """Posts it once. Returns the video, or what was raised. Needs no database."""
    with about(ready.submission):
        try:
            return upstream.client.create(ready.request, deadline=ready.ends - time.monotonic())
        except Exception as error:
            return error


def _request(submission: Submission, upstream: Upstream) -> CreateRequest | None:
    """What is sent, with its pictures. None if there is nothing to send, which is recorded."""
    request = CreateRequest(**submission.request)
    if problem := problem_of_source(submission, request, upstream):
        record_source_gone(submission, problem)
        return None
    try:
        pictures = pictures_of(request)
    except ReferenceGone as error:
        record_picture_gone(submission, str(error))
        return None
    except OSError as error:
        logger.error("A picture of %s cannot be read: %s", submission, error)
        tries = submission.job.submissions.filter(state=SubmissionState.UNSENT).count()
        wait = min(_MEDIA_SECONDS * 2 ** min(tries, 10), _MEDIA_MAX_SECONDS)
        record_unsent(submission, f"Its picture cannot be read: {error}", wait=wait)
        return None
    return replace(request, pictures=pictures, callback_url=callback_address(submission, upstream))


def _may_send(submissions: Iterable[Submission], upstream: Upstream) -> set[int]:
    """The last check: the lease covers the call, the job still wants it, and nothing blocks it.

    Returns the keys of those that may be sent.
    """
    allowed = Submission.objects.filter(
        Q(job__group=None) | Q(job__group__held=False),
        ANSWERED_FOR,
        pk__in=[submission.pk for submission in submissions],
        state=SubmissionState.SENDING,
        lease_until__gt=in_database(upstream.deadline),
        job__status=JobStatus.PENDING,
        provider__stopped_at=None,
        provider__unrecognized_at=None,
    )
    return set(allowed.values_list("pk", flat=True))
