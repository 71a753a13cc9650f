"""How often a caller may ask: by API key, by person, and by address where nobody is known."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import get_usage
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.addresses import address_of
from accounts.models import ApiKey

if TYPE_CHECKING:
    from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class Usage:
    """Where a caller stands in its present minute."""

    limit: int
    remaining: int
    # Seconds until the next one.
    reset: int
    exceeded: bool

    def headers(self) -> dict[str, str]:
        """As in version 6 of the IETF draft "RateLimit header fields for HTTP"; later ones have one field."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }


class CallerThrottle(BaseThrottle):
    """One limit for calls that read, another for those that change something; a view may name its own as
    `rate_limit`. What it counted is left on the request for the answer's headers."""

    def __init__(self) -> None:
        self._usage: Usage | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """False once the caller's minute is used up."""
        usual = "reads" if request.method in SAFE_METHODS else "creates"
        self._usage = count(request._request, getattr(view, "rate_limit", usual), _caller(request))
        if self._usage is None:
            return True
        request._request.rate_limit = self._usage  # type: ignore[attr-defined]
        return not self._usage.exceeded

    def wait(self) -> float | None:
        """Seconds until the caller's next minute."""
        return None if self._usage is None else float(self._usage.reset)


def _caller(request: Request) -> str:
    if isinstance(request.auth, ApiKey):
        return f"key {request.auth.pk}"
    if request.user.is_authenticated:
        return f"user {request.user.pk}"
    return f"address {address_of(request._request)}"


def count_refusal(request: HttpRequest) -> Usage | None:
    """Counts an API key that opens nothing against its address."""
    return count(request, "refusals", f"address {address_of(request)}")


def count(request: HttpRequest, kind: str, caller: str) -> Usage | None:
    """Counts one call of this kind; None where the kind has no limit, or the count was lost."""
    limit = {
        "reads": settings.RATE_LIMIT_READS_PER_MINUTE,
        "creates": settings.RATE_LIMIT_CREATES_PER_MINUTE,
        "logins": settings.RATE_LIMIT_LOGINS_PER_MINUTE,
        "refusals": settings.RATE_LIMIT_REFUSALS_PER_MINUTE,
    }[kind]
    if not limit:
        return None
    usage = get_usage(
        request, group=f"accounts.{kind}", key=lambda *_: caller, rate=f"{limit}/m", increment=True
    )
    # A counter that the cache lost in between counts as used up, with a time left below zero.
    if usage is None or usage["time_left"] < 0:
        return None
    left = max(0, limit - usage["count"])
    return Usage(limit, left, max(1, usage["time_left"]), bool(usage["should_limit"]))
