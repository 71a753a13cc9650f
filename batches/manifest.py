"""A batch's results as a file: one line for each job, in the order of the items, streamed."""

import csv
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from accounts.budgets.reservations import dollars
from api.bodies.formulas import quoted
from api.moments import written
from videos.api.show import cost_of, error_of, result_of
from videos.models import Job
from videos.reads.rows import JobRow, rows_of
from videos.results.links import Addresses

COLUMNS: Final = (
    "item", "ref", "jobId", "status", "prompt", "videoUrl", "thumbnailUrl", "duration", "width", "height",
    "format", "fileSize", "sha256", "model", "seconds", "size", "estimatedCost", "settledCost", "errorCode",
    "errorMessage", "metadata", "createdAt", "completedAt",
)  # fmt: skip
_TOGETHER: Final = 500


def csv_lines(
    batch_id: UUID, context: dict[str, Any], files: Mapping[int, str] | None = None
) -> Iterator[str]:
    """RFC 4180 with a header and a byte-order mark, without which Excel takes UTF-8 for something else.

    A cell that a spreadsheet would run as a formula gets an apostrophe in front, which an upload takes away
    again (api.bodies.formulas).
    """
    columns = COLUMNS if files is None else (*COLUMNS, "file")
    write = csv.writer(_Echo()).writerow
    yield "\ufeff" + write(columns)
    for row in rows(batch_id, context, files):
        yield write([_cell(row[column]) for column in columns])


def json_lines(
    batch_id: UUID, context: dict[str, Any], files: Mapping[int, str] | None = None
) -> Iterator[str]:
    """One JSON object on each line."""
    for row in rows(batch_id, context, files):
        yield json.dumps(row, ensure_ascii=False) + "\n"


# Of an archive with the videos, by their names in it.
MANIFESTS: Final = {"manifest.csv": csv_lines, "manifest.jsonl": json_lines}


def rows(
    batch_id: UUID, context: dict[str, Any], files: Mapping[int, str] | None = None
) -> Iterator[dict[str, Any]]:
    """All jobs, some hundred in memory at a time. `context` is a serializer's context with the request.
    `files`: the names of the videos in an archive, by the numbers of their items."""
    # A file is read long after it is made, and a link would have ended by then.
    addresses = Addresses(context["request"].build_absolute_uri("/api/v1/videos/"))
    pks = Job.objects.filter(group=batch_id).order_by("id").values_list("pk", flat=True)
    last, number = UUID(int=0), 0
    while found := list(pks.filter(pk__gt=last)[:_TOGETHER]):
        for job in rows_of(found):
            number += 1
            named = {} if files is None else {"file": files.get(number)}
            yield _row(number, job, addresses) | named
        last = found[-1]


def _row(number: int, job: JobRow, addresses: Addresses) -> dict[str, Any]:
    result = result_of(job, addresses) or {}
    error = error_of(job) or {}
    cost = cost_of(job)
    return {
        "item": number,
        "ref": job.ref or None,
        "jobId": str(job.pk),
        "status": job.status,
        "prompt": job.prompt,
        **{name: result.get(name) for name in COLUMNS[5:13]},
        **{name: job.fitted[name] for name in ("model", "seconds", "size")},
        "estimatedCost": dollars(job.estimated_cost),
        "settledCost": cost["settled"],
        "errorCode": error.get("code"),
        "errorMessage": error.get("message"),
        "metadata": job.metadata,
        "createdAt": _time(job.created_at),
        "completedAt": _time(job.completed_at),
    }


def _time(at: datetime | None) -> str | None:
    return written(at) if at else None


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return quoted(value) if isinstance(value, str) else value


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text
