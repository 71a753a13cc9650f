"""Callbacks: an upstream tells the end of a render to an address that its create has named.

The address has a token that only this service can make, one for each submission. So a callback settles even a
create that was not answered: it names the video that the submission became.
"""

import hmac
import logging
import re
from typing import Final

from django.conf import settings
from django.utils.crypto import salted_hmac

from upstreams import registry
from upstreams.breaker import respecting_retry_after
from upstreams.calls.brief_calls import MAX_SECONDS, brief_calls
from upstreams.client import errors
from upstreams.client.values import usable_id
from upstreams.models import Call
from upstreams.registry import Upstream
from videos.lifecycle.notification import apply_notification
from videos.lifecycle.outcomes import accept
from videos.log_context import about
from videos.models import Submission, locked
from videos.queue.wake import wake

logger = logging.getLogger(__name__)

PATH: Final = "hooks/callbacks"
_TOKEN: Final = re.compile(r"([0-9]{1,18})-([0-9a-f]{64})")


def callback_address(submission: Submission, upstream: Upstream) -> str | None:
    """The address to name in its create; None if this upstream calls nobody, or cannot reach this service."""
    if not (upstream.dialect.calls_back and settings.UPSTREAM_CALLBACK_URL):
        return None
    return f"{settings.UPSTREAM_CALLBACK_URL}/{PATH}/{submission.pk}-{_seal(submission.pk)}"


def submission_of(token: str) -> Submission | None:
    """The submission whose address has this token; None if no address of ours has it."""
    match = _TOKEN.fullmatch(token)
    if match is None or not hmac.compare_digest(_seal(int(match[1])), match[2]):
        return None
    return Submission.objects.select_related("job", "provider").filter(pk=int(match[1])).first()


def _seal(pk: int) -> str:
    return salted_hmac("videos.callbacks", str(pk), algorithm="sha256").hexdigest()


def settle(submission: Submission, upstream_id: str) -> bool:
    """Takes the id that a callback names for its submission. Returns whether anything came of it.

    The upstream is asked for that video first: nothing else of the callback is believed. Raises SoraError and
    TooSlow if it does not answer; the callback may come again.
    """
    upstream = registry.configured().get(submission.provider.name)
    if upstream is None or usable_id(upstream_id) is None:
        return False
    with about(submission):
        if submission.upstream_id is not None:
            if submission.upstream_id != upstream_id:
                logger.error("A callback of %s names %s, which is not its video.", submission, upstream_id)
                return False
            return apply_notification(upstream_id, provider=upstream.name)
        try:
            with respecting_retry_after(upstream, Call.RETRIEVE):
                video = brief_calls.answer(
                    lambda: upstream.client.retrieve(upstream_id, deadline=MAX_SECONDS)
                )
        except errors.NotFound:
            logger.error(
                "A callback of %s names %s, which the upstream does not know.", submission, upstream_id
            )
            return False
        with locked(submission) as (job, submission):
            settled = accept(job, submission, video, upstream, how="called back")
        wake("dispatch")
        return settled
