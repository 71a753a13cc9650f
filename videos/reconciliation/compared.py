"""Whether the fields that an upstream shows of a video tell whose it is."""

from upstreams.client.dialects import Dialect
from upstreams.client.types import Video
from videos.models import Submission
from videos.states import UNDECIDED


def is_compared(submission: Submission) -> bool:
    """Whether it is known what the upstream shows of such a video: only of one that is made anew.

    Of a remix OpenAI's protocol says it, and no server was seen that does so.
    """
    return submission.request.get("operation") is None


def contradicts(video: Video, submission: Submission, dialect: Dialect) -> bool:
    """Whether the video shows other fields than the attempt has sent."""
    return is_compared(submission) and dialect.match_key(video) != submission.match_key


def has_rival(submission: Submission) -> bool:
    """Whether a video with the fields of this attempt may as well be that of another undecided one, which is
    made from a video and has the same prompt. Those have no key that would hold them apart."""
    others = Submission.objects.filter(
        provider=submission.provider_id,
        state__in=UNDECIDED,
        request__operation__isnull=False,
        request__prompt=submission.request["prompt"],
    )
    return others.exclude(pk=submission.pk).exists()
