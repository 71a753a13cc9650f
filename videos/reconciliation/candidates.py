"""The videos on the list that an undecided attempt may have become, in bounded memory."""

from collections.abc import Iterable, Set
from dataclasses import replace
from typing import Final

from upstreams.client.dialects import Dialect
from upstreams.client.types import Video
from videos.models import Submission
from videos.reconciliation.listing import may_be_its, unowned

# If there are more videos of one attempt's time without an owner, the list is not only ours.
MAX_CANDIDATES: Final = 1_000


class Candidates:
    """Of the videos that are added, those that may belong to the submission.

    `overflowed`: there were more than MAX_CANDIDATES that nobody owns. Then no more are kept, and they prove
    no absence.
    """

    def __init__(self, submission: Submission, dialect: Dialect) -> None:
        self.overflowed = False
        self._submission = submission
        self._dialect = dialect
        self._videos: dict[str, Video] = {}

    def add(self, videos: Iterable[Video]) -> None:
        """Keeps the videos that may belong to the submission, until there are too many."""
        for video in videos:
            if self.overflowed:
                return
            if may_be_its(video, self._submission, self._dialect):
                self._videos[video.id] = slim(video, {self._submission.match_key}, self._dialect)
            if len(self._videos) > MAX_CANDIDATES:
                self._videos = {each.id: each for each in self.unowned()}
                # Half, so that this does not happen again with each page.
                self.overflowed = len(self._videos) > MAX_CANDIDATES / 2

    def unowned(self) -> tuple[Video, ...]:
        """The videos that no submission owns by now."""
        return unowned(self._submission.provider, self._videos)


def slim(video: Video, match_keys: Set[str], dialect: Dialect) -> Video:
    """The video without its long texts. If it matches one of the keys, the texts are ours and are kept."""
    return video if dialect.match_key(video) in match_keys else replace(video, prompt=None, error=None)
