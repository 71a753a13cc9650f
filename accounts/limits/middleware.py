"""Rate-limit headers on every answer."""

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.limits import throttles
from api.errors import respond

# What a call may be answered that never came as far as its throttle.
_REFUSED: Final = frozenset({400, 401, 403})


class RateLimitMiddleware:
    """Adds the caller's limits to each answer, and counts calls that were refused before the throttle.

    A caller that continues to make such calls gets 429 for them. Valid calls are not refused here, so other
    callers of the same address are not affected.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code in _REFUSED and not hasattr(request, "rate_limit"):
            usage = throttles.count_refused(request, response.status_code)
            if usage is not None and usage.exceeded:
                message = "Too many calls were refused. Wait as long as Retry-After says, and mend them."
                response = respond(request, 429, "rate_limited", message)
                response["Retry-After"] = str(usage.reset)
        else:
            usage = getattr(request, "rate_limit", None)
        if usage is not None:
            for name, value in usage.headers().items():
                response.headers.setdefault(name, value)
        return response
