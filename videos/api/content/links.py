"""Opens a file by its signed link instead of a key."""

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request

from accounts.keys.authentication import carries_key
from accounts.sessions.tokens import access_cookie
from videos.results.links import has_ended, is_genuine

if TYPE_CHECKING:
    from rest_framework.views import APIView

# More digits than a time has.
_MOST_DIGITS = 12


class Link(NamedTuple):
    """What a link opens: one file of one job, until it ends (Unix time)."""

    job: UUID
    variant: str
    expires: int


class LinkInvalid(APIException):
    """403: a link that was not made here, or was changed."""

    status_code = status.HTTP_403_FORBIDDEN
    default_code = "link_invalid"
    default_detail = (
        "This link is not as it was made. Copy it again as a whole, or read the job for a new one."
    )


class LinkExpired(APIException):
    """403: a link that has ended."""

    status_code = status.HTTP_403_FORBIDDEN
    default_code = "link_expired"
    default_detail = "This link has ended. Read the job, which shows a new one each time."


class LinkAuthentication(BaseAuthentication):
    """The signature of a link. A link that is not valid says so, unless the caller has a key or a session."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, Link] | None:
        """Nobody and the link; None without one. Raises LinkInvalid and LinkExpired."""
        query = request.query_params
        # Who may read may not remove.
        if "signature" not in query or request.method not in SAFE_METHODS:
            return None
        job = request.parser_context["kwargs"]["pk"]
        variant, expires = query.get("variant", ""), query.get("expires", "")
        is_time = expires.isascii() and expires.isdigit() and len(expires) <= _MOST_DIGITS
        refusal: APIException | None = None
        if not is_time or not is_genuine(job, variant, int(expires), query["signature"]):
            refusal = LinkInvalid()
        elif has_ended(int(expires)):
            refusal = LinkExpired()
        if refusal is None:
            return AnonymousUser(), Link(job, variant, int(expires))
        if carries_key(request._request) or access_cookie() in request.COOKIES:
            return None
        raise refusal

    def authenticate_header(self, request: Request) -> str:
        """The challenge that makes REST framework answer 401 rather than 403."""
        return "Bearer"


class LinkScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The signature of a link, in the schema."""

    target_class = LinkAuthentication
    name = "signedLink"

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        """Only to read."""
        return [{self.name: []}] if auto_schema.method == "GET" else []

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """A parameter of the address."""
        return {
            "type": "apiKey",
            "in": "query",
            "name": "signature",
            "description": "Of a link of a job's `result`, which is used as it is.",
        }


class IsKnownOrHasLink(IsAuthenticated):
    """Requires a caller, or a link, which is for whoever has it."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.auth, Link) or super().has_permission(request, view)
