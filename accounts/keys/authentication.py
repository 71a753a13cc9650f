"""Authentication by API key."""

from datetime import UTC
from typing import Final

from django.http import HttpRequest
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request
from structlog.contextvars import bind_contextvars

from accounts.keys import key_format
from accounts.models import ApiKey, User

_MALFORMED: Final = (
    f"This is no whole API key: {key_format.MARK} and 49 letters and digits, of which the last six are a "
    "checksum. Copy it again, without quotes or blanks."
)
_WRONG_SCHEME: Final = "Send the API key as x-api-key, or as Authorization: Bearer, and in no other scheme."
_UNKNOWN: Final = "This API key was not made here. Check that it is meant for this service, or make another."
_REVOKED: Final = "This API key was revoked. Make another."
_INACTIVE: Final = "The account of this API key is not active. Ask who runs this service."


class KeyRefused(AuthenticationFailed):
    """401: the key is not valid. Says why, and never shows the key."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.extra = {"reason": reason}


class TwoKeys(APIException):
    """400: two different keys, as RFC 6750, 3.1, says for tokens."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "two_keys"
    default_detail = "x-api-key and Authorization: Bearer carry different keys. Send one of them."


class KeyInUrl(APIException):
    """400: a key in the query string, where histories, proxies and logs keep it."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "key_in_url"
    default_detail = (
        "An API key does not belong into an address, which browsers, proxies and logs keep. Send it as "
        "x-api-key or Authorization: Bearer. If this was one that works, revoke it and make another."
    )


class ApiKeyAuthentication(BaseAuthentication):
    """An API key, in `x-api-key` or as `Authorization: Bearer`.

    If a request has a key, only the key counts: if it is refused, no cookie is tried. So this is the first
    authentication class.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """The key's owner and the key; None without one. Raises KeyRefused, TwoKeys, KeyInUrl."""
        _refuse_key_in_url(request)
        secret = _sent_key(request)
        if secret is None:
            return None
        if not key_format.is_well_formed(secret):
            raise KeyRefused("malformed", _MALFORMED)
        key = ApiKey.of_secret(secret)
        if key is None:
            raise KeyRefused("unknown", _UNKNOWN)
        if not key.owner.is_active:
            raise KeyRefused("inactive", _INACTIVE)
        if key.status == ApiKey.Status.REVOKED:
            raise KeyRefused("revoked", _REVOKED)
        if key.status == ApiKey.Status.EXPIRED and key.expires_at is not None:
            ended = key.expires_at.astimezone(UTC)
            raise KeyRefused("expired", f"This API key expired at {ended:%Y-%m-%d %H:%M} UTC. Make another.")
        key.note_use()
        # Until the request ends: each of its lines says whose it is.
        bind_contextvars(owner=key.owner_id, key=key.prefix)
        return key.owner, key

    def authenticate_header(self, request: Request) -> str:
        """The challenge that makes REST framework answer 401 rather than 403."""
        return "Bearer"


def _sent_key(request: Request) -> str | None:
    """The key that a request carries, or None. Raises KeyRefused, TwoKeys."""
    sent = set()
    if "x-api-key" in request.headers:
        sent.add(request.headers["x-api-key"].strip())
    authorization = request.headers.get("Authorization", "")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        sent.add(token.strip())
    elif key_format.is_in(authorization):
        raise KeyRefused("scheme", _WRONG_SCHEME)
    if len(sent) > 1:
        raise TwoKeys
    return next(iter(sent), None)


def _refuse_key_in_url(request: Request) -> None:
    for name, values in request.query_params.lists():
        if key_format.is_name(name) or any(key_format.is_in(text) for text in (name, *values)):
            raise KeyInUrl


def key_of(request: Request) -> ApiKey | None:
    """The API key that a request came with; None for a person's session."""
    return request.auth if isinstance(request.auth, ApiKey) else None


def carries_key(request: HttpRequest) -> bool:
    """Whether a request carries an API key, valid or not."""
    return "x-api-key" in request.headers or "Authorization" in request.headers
