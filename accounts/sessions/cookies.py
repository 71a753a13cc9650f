"""Authentication by session cookie, and protection against requests from other sites (CSRF)."""

from django.http import HttpRequest
from rest_framework import status
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from structlog.contextvars import bind_contextvars

from accounts.models import User
from accounts.sessions import tokens


class CsrfFailed(APIException):
    """403: a session cookie without a CSRF token, or from a page of another site."""

    status_code = status.HTTP_403_FORBIDDEN
    default_code = "csrf_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason} Send the csrfToken of /api/auth/me as X-CSRFToken, with its cookie.")


class _OriginCheck(CSRFCheck):
    """Django's check of the Origin header, for calls that come before there is a token."""

    def _check_token(self, request: HttpRequest) -> None:
        """A foreign form cannot send a JSON body, so no token is needed."""

    def _check_referer(self, request: HttpRequest) -> None:
        """Browsers send Origin with every POST to another site."""


class CookieAuthentication(BaseAuthentication):
    """The session cookie. Calls that may change something also need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """The session's user; None without the cookie. Raises NoSession, CsrfFailed."""
        session = tokens.of_request(request._request)
        if session is None:
            return None
        enforce_csrf(request)
        bind_contextvars(owner=session.user_id)
        return session.user, None

    def authenticate_header(self, request: Request) -> str:
        """The challenge that makes REST framework answer 401 rather than 403."""
        return "Bearer"


def enforce_csrf(request: Request) -> None:
    """Raises CsrfFailed for an unsafe call without the token, or from another origin.

    REST framework exempts its views from Django's middleware, so its check runs here.
    """
    _enforce(CSRFCheck, request)


def refuse_other_origins(request: Request) -> None:
    """Raises CsrfFailed for an unsafe call that a page of another site makes."""
    _enforce(_OriginCheck, request)


def _enforce(kind: type[CSRFCheck], request: Request) -> None:
    check = kind(lambda _: None)  # type: ignore[arg-type]
    check.process_request(request._request)
    # A reason, because CSRFCheck answers with nothing else.
    if reason := check.process_view(request._request, None, (), {}):  # type: ignore[arg-type]
        raise CsrfFailed(str(reason))
