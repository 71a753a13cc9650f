"""What is left of rows that are erased. Identifiers, times, states and sums of money stay."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

# Of what was sent upstream: by these a price was found.
_PRICED: Final = ("model", "seconds", "size")
JOB: Final[Mapping[str, Any]] = {
    "prompt": "",
    "negative_prompt": "",
    "ref": "",
    "extra": {},
    "metadata": {},
    "adjustments": [],
    "request_id": "",
    # Upstreams quote prompts in their errors.
    "error_message": "",
    "error_details": None,
    "fault": "",
}
SUBMISSION: Final[Mapping[str, Any]] = {"error_message": "", "fault": ""}
BATCH: Final[Mapping[str, Any]] = {"name": "", "metadata": {}, "fault": ""}


def priced(request: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of a request as it was fitted."""
    return {name: request[name] for name in _PRICED if name in request}


def match_key(job: UUID) -> str:
    """In place of the one that was made from the prompt, which somebody could guess."""
    return job.hex


def archived_job(line: dict[str, Any]) -> dict[str, Any]:
    """A job's line of the archive, erased."""
    key = match_key(UUID(line["id"]))
    attempts = [
        {**each, **SUBMISSION, "request": priced(each["request"]), "match_key": key}
        for each in line["submissions"]
    ]
    erased = {**line, **JOB, "fitted": priced(line["fitted"]), "match_key": key}
    return {**erased, "submissions": attempts, "events": [], "references": []}


def archived_batch(line: dict[str, Any]) -> dict[str, Any]:
    """A batch's line of the archive, erased."""
    return {**line, **BATCH, "events": []}
