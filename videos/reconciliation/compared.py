"""Whether the fields that an upstream shows of a video tell whose it is."""

from upstreams.client.dialects import Dialect
from upstreams.client.types import COMPARED_OPERATIONS, Video
from videos.models import Submission


def is_compared(submission: Submission) -> bool:
    """Whether it is known what the upstream shows of such a video. Of an edit or an extension it is not."""
    return submission.request.get("operation") in COMPARED_OPERATIONS


def contradicts(video: Video, submission: Submission, dialect: Dialect) -> bool:
    """Whether the video shows other fields than the attempt has sent."""
    return is_compared(submission) and dialect.match_key(video) != submission.match_key
