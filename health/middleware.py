"""Counts answers."""

import time
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from health.metrics import observations


class CountRequestsMiddleware:
    """Counts each answer by method, route and status, and the time until its body began."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.monotonic()
        response = self.get_response(request)
        match = request.resolver_match
        # Labels keep their names, whatever our converter is called.
        route = match.route.replace("<anyuuid:", "<uuid:") if match is not None else "none"
        observations.answered(request.method or "", route, response.status_code, time.monotonic() - begun)
        return response
