"""How often a caller may ask."""

from typing import TYPE_CHECKING

from django.conf import settings
from django_ratelimit.core import get_usage
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.models import ApiKey

if TYPE_CHECKING:
    from rest_framework.views import APIView


class CallerThrottle(BaseThrottle):
    """RATE_LIMIT_PER_MINUTE calls for each API key."""

    def __init__(self) -> None:
        self._wait: float | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """False once the key's minute is used up."""
        if not settings.RATE_LIMIT_PER_MINUTE or not isinstance(request.auth, ApiKey):
            return True
        key = str(request.auth.pk)
        rate = f"{settings.RATE_LIMIT_PER_MINUTE}/m"
        usage = get_usage(
            request._request, group="accounts.caller", key=lambda *_: key, rate=rate, increment=True
        )
        # A counter that the cache lost in between counts as used up, with a time left below zero.
        if usage is None or not usage["should_limit"] or usage["time_left"] < 0:
            return True
        self._wait = float(usage["time_left"])
        return False

    def wait(self) -> float | None:
        """Seconds until the caller's next minute."""
        return self._wait
