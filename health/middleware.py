"""Counts what this process has answered."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from django.http import HttpRequest
from django.http.response import HttpResponseBase


@dataclass(slots=True)
class Counts:
    """Answers since the process started; errors are those with status 500 and above."""

    requests: int = 0
    errors: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: int) -> None:
        """Counts one answer."""
        with self.lock:
            self.requests += 1
            self.errors += status >= 500


counts = Counts()


class CountRequestsMiddleware:
    """Counts each answer by its status."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        counts.add(response.status_code)
        return response
