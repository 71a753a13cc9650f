"""Conditional reads: 304 if nothing has changed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request


def etag_of(job: Mapping[str, Any]) -> str:
    """The ETag of a job as callers see it.

    Estimates are left out: they change with the clock while the job does not.
    """
    steady = {name: value for name, value in job.items() if not name.startswith("estimatedCompletion")}
    # The fields always come in the same order.
    digest = hashlib.sha256(json.dumps(steady, separators=(",", ":")).encode()).hexdigest()[:32]
    return f'"{digest}"'


def is_known(request: Request, etag: str) -> bool:
    """Whether If-None-Match says that the caller has the answer with this ETag."""
    seen = {tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")}
    return etag in seen or "*" in seen
