"""Rate limits: by API key, by person, or by address if the caller is not known."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import get_usage
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.addresses import address_of
from accounts.keys.authentication import carries_key
from accounts.models import ApiKey

if TYPE_CHECKING:
    from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class Usage:
    """What a caller has used of its present minute."""

    limit: int
    remaining: int
    # Seconds until the next one.
    reset: int
    exceeded: bool

    def headers(self) -> dict[str, str]:
        """The headers of version 6 of the IETF draft "RateLimit header fields for HTTP"; later versions have
        one."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }


class CallerThrottle(BaseThrottle):
    """One limit for calls that read and another for calls that change something; a view may name its own as
    `rate_limit`. The count is stored on the request for the answer's headers.

    It runs after authentication and permissions; count_refused counts what these refuse."""

    def __init__(self) -> None:
        self._usage: Usage | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """False if the caller has used up its minute."""
        called = request._request
        caller = _known(request.auth, request.user) or _address(called)
        self._usage = count(called, getattr(view, "rate_limit", _usual(called)), caller)
        # None, too, says that the call was counted.
        called.rate_limit = self._usage  # type: ignore[attr-defined]
        return self._usage is None or not self._usage.exceeded

    def wait(self) -> float | None:
        """Seconds until the caller's next minute."""
        return None if self._usage is None else float(self._usage.reset)


def count_refused(request: HttpRequest, status: int) -> Usage | None:
    """Counts a call that was refused with this status before the throttle ran.

    If the caller is known, it counts as one of its calls. A read without a key and without a session counts
    as a read of its address, so a page can find out that its session has ended. Anything else counts as a
    refusal of its address.
    """
    # REST framework leaves both on the request, once somebody is known; Django's own user would be looked up.
    if hasattr(request, "auth") and (caller := _known(request.auth, request.user)):
        return count(request, _usual(request), caller)
    is_read = status == 401 and request.method in SAFE_METHODS and not carries_key(request)
    return count(request, "reads" if is_read else "refusals", _address(request))


def _usual(request: HttpRequest) -> str:
    return "reads" if request.method in SAFE_METHODS else "creates"


def _known(auth: object, user: Any) -> str:
    if isinstance(auth, ApiKey):
        return f"key {auth.pk}"
    return f"user {user.pk}" if user.is_authenticated else ""


def _address(request: HttpRequest) -> str:
    return f"address {address_of(request)}"


def count(request: HttpRequest, kind: str, caller: str) -> Usage | None:
    """Counts one call of this kind; None if the kind has no limit, or the count was lost."""
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
