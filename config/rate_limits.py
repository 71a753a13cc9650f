"""What every answer says of its caller's limits."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts import limits
from accounts.authentication import carries_key
from config.errors import respond


class RateLimitMiddleware:
    """Says in each answer where its caller stands.

    An address that keeps on sending API keys which open nothing gets 429 rather than 401; its other callers
    go on.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        usage: limits.Usage | None = getattr(request, "rate_limit", None)
        if response.status_code == 401 and carries_key(request):
            usage = limits.count_refusal(request)
            if usage is not None and usage.exceeded:
                message = "Too many API keys of this address were refused; wait, and check the key."
                response = respond(request, 429, "rate_limited", message)
                response["Retry-After"] = str(usage.reset)
        if usage is not None:
            for name, value in usage.headers().items():
                response.headers.setdefault(name, value)
        return response
