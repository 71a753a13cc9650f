"""Attempts of which nothing is sent, because what they need is gone."""

from typing import Any

from videos.lifecycle.outcomes import fail
from videos.models import Submission, locked
from videos.states import CostState, SubmissionState


def record_picture_gone(submission: Submission, reason: str) -> None:
    """Records that it was not sent, because its picture is not there any more, and fails its job."""
    with locked(submission) as (job, submission):
        if _leave_unsent(submission, reason):
            fail(job, "image_lost", f"Nothing was sent: {reason} Ask again with the picture.")


def record_source_gone(submission: Submission, reason: str) -> None:
    """Records that it was not sent, because the video that it is made from is not there any more, or nothing
    is made from it any more, and fails its job."""
    with locked(submission) as (job, submission):
        if _leave_unsent(submission, reason):
            fail(job, "source_gone", f"Nothing was sent: {reason} Ask for a new video.")


def _leave_unsent(submission: Submission, reason: str) -> bool:
    returned: dict[str, Any] = {"cost_state": CostState.RETURNED, "error_message": reason}
    return submission.move(SubmissionState.UNSENT, detail={"reason": reason}, **returned)
