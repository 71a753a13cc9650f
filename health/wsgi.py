"""Answers probes before Django begins a request.

If a thread's connection has failed before, Django tests it in the database when a request begins. It also
refuses an unknown host, which a probe by IP address has. A probe must depend on neither.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

from api.logs.access import log_request
from api.requests import usable_request_id
from health import liveness
from health.metrics import observations
from health.readiness.checker import checker

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Probes:
    """Wraps a WSGI application. Answers GET and HEAD of /health and /ready itself, and passes on everything
    else."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = unquote(environ.get("PATH_INFO", ""))
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"} or path not in {"/health", "/ready"}:
            return self._application(environ, start_response)
        begun = time.monotonic()
        status, said = "200 OK", liveness.body()
        if path == "/ready":
            readiness = checker.readiness()
            said = readiness.body()
            if not readiness.ready:
                status = "503 Service Unavailable"
        body = json.dumps(said).encode()
        request_id = usable_request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Request-Id", request_id),
        ]
        start_response(status, headers)
        seconds = time.monotonic() - begun
        observations.answered(environ["REQUEST_METHOD"], path[1:], int(status[:3]), seconds)
        log_request(environ["REQUEST_METHOD"], path, int(status[:3]), begun, request_id=request_id)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
