"""Counts events of this process: answers, calls to the upstream, stages of jobs."""

import logging
import threading
from typing import Any, Final

from django.db import connections

from health.metrics.counters import counters
from upstreams.calls import contact
from videos.models import Submission
from videos.states import SubmissionState

logger = logging.getLogger(__name__)

HTTP_SECONDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 10)
UPSTREAM_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600)
STAGE_SECONDS: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_KEEP_SECONDS: Final = 5.0


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Counts an answered request. The route is the URL pattern, not the path, to limit the number
    of labels."""
    # Anybody may invent methods, and each would be a row.
    method = method if method in _METHODS else "other"
    counters.add("takeone_http_requests", {"method": method, "route": route, "status": str(status)})
    counters.observe("takeone_http_request_seconds", {"method": method}, seconds, HTTP_SECONDS)


def called(*, call: str, seconds: float, error: str, **_: Any) -> None:
    """Counts a finished call to the upstream."""
    labels = {"call": call, "outcome": error or "answered"}
    counters.add("takeone_upstream_requests", labels)
    counters.observe("takeone_upstream_request_seconds", {"call": call}, seconds, UPSTREAM_SECONDS)


def moved(*, submission: Submission, before: str, **_: Any) -> None:
    """Counts a submission that entered a state, after the commit."""
    counters.add("takeone_submission_moves", {"state": submission.state})
    match before, submission.state:
        case ((SubmissionState.SENDING | SubmissionState.UNKNOWN), SubmissionState.RENDERING):
            _stage("queued", submission.job.asked_at, submission.created_at)
            _stage("sending", submission.created_at, submission.accepted_at)
        case _, SubmissionState.RENDERED:
            _stage("rendering", submission.accepted_at, submission.rendered_at)
        case _, SubmissionState.STORED:
            _stage("storing", submission.rendered_at, submission.ended_at)


def _stage(stage: str, begun: Any, ended: Any) -> None:
    if begun is not None and ended is not None:
        seconds = max(0.0, (ended - begun).total_seconds())
        counters.observe("takeone_stage_seconds", {"stage": stage}, seconds, STAGE_SECONDS)


def keep() -> None:
    """Writes the counts and the last contact of this process to the database. Loses nothing if it is down."""
    counters.flush_if_due()
    contact.write_down()


def keep_regularly() -> None:
    """Does `keep` every few seconds in a thread of its own, for a process without tasks."""

    def run() -> None:
        while True:
            stopping.wait(_KEEP_SECONDS)
            try:
                keep()
            except Exception:
                logger.exception("What was counted is kept until later.")
            finally:
                connections.close_all()

    stopping = threading.Event()
    threading.Thread(target=run, name="keep-observations", daemon=True).start()
