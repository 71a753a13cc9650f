"""Which job each line of the log is about, and the lines that say how it goes on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog
from structlog.contextvars import bound_contextvars, get_contextvars

from api.logs.events import LogEvent
from upstreams.client.redaction import Redactor
from videos.states import JobStatus, SubmissionState

if TYPE_CHECKING:
    from videos.models import Job, Submission

logger: structlog.stdlib.BoundLogger = structlog.get_logger("videos")

_EVENTS: Final = {
    "job": LogEvent.JOB,
    "submission": LogEvent.SUBMISSION,
    "result": LogEvent.RESULT,
}
# What an operator may have to look into. The rest goes its way.
_TROUBLE: Final = {
    "job": frozenset({JobStatus.FAILED}),
    "submission": frozenset(
        {
            SubmissionState.REJECTED,
            SubmissionState.UNKNOWN,
            SubmissionState.FAILED,
            SubmissionState.LOST,
            SubmissionState.GIVEN_UP,
        }
    ),
}
# Of a history's details: how it came to it, who did it, why, and which video it is.
_SHOWN: Final = {
    "how": "how",
    "by": "by",
    "reason": "reason",
    "upstreamId": "upstream_id",
    "upstream": "upstream_status",
    "late": "late",
    "bytes": "bytes",
}


def request_id() -> str:
    """The id of the request, or of the job, that this thread works for; "" if there is none."""
    return str(get_contextvars().get("request_id", ""))


@contextmanager
def about(row: "Job | Submission") -> Iterator[None]:
    """Each line of the block is about this job, or this submission and its job."""
    with bound_contextvars(**row.log_fields()):
        yield


def log_change(
    job: "Job",
    subject: str,
    before: str,
    after: str,
    *,
    detail: dict[str, Any],
    cause: dict[str, str] | None = None,
    **fields: Any,
) -> None:
    """Says that a job or a submission has left one state for another, and why. An upstream may quote the
    prompt in what it says; the line does not."""
    redactor = Redactor("", (job.prompt, job.negative_prompt))
    said = {shown: detail[name] for name, shown in _SHOWN.items() if name in detail}
    is_trouble = after in _TROUBLE.get(subject, ())
    if is_trouble and cause is not None:
        said |= {f"error_{name}": text for name, text in cause.items() if text}
    logger.log(
        logging.WARNING if is_trouble else logging.INFO,
        _EVENTS[subject],
        **job.log_fields(),
        **fields,
        from_state=before,
        to_state=after,
        **{name: redactor.text(value) if isinstance(value, str) else value for name, value in said.items()},
    )
