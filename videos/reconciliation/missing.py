"""When a video that the upstream does not know, or of which it has no file, counts as lost."""

from datetime import datetime
from typing import Final

from videos.models import Submission
from videos.reconciliation.restored.identity import was_accepted_as_lost

_POLLS: Final = 3
_SECONDS: Final = 120
# Between two polls.
POLL_AGAIN_SECONDS: Final = _SECONDS / (_POLLS - 1)


def is_lost_if_missing(submission: Submission, now: datetime) -> bool:
    """Whether it is lost if one more answer does not show it: the third answer over two minutes, or any once
    an operator has accepted that the upstream may have lost it."""
    if was_accepted_as_lost(submission):
        return True
    since, polls = submission.missing_since, submission.missing_polls + 1
    return since is not None and polls >= _POLLS and (now - since).total_seconds() >= _SECONDS
