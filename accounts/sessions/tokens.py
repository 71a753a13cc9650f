"""Sessions of people: one row each, and two signed cookies that identify it.

The tokens are Simple JWT's. Its blacklist is not used: it ends refresh tokens only, does not know which of
them belong together, and reads before it writes, so that one token can be rotated twice at once.
"""

import logging
from datetime import timedelta
from typing import Final
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from accounts.models import Session, User
from api.logs.events import EACH

logger = logging.getLogger(__name__)

# Two tabs refresh at once, or an answer is lost: within this, the replaced token stands for its successor.
_GRACE: Final = timedelta(seconds=10)
_FORGOTTEN_AT_ONCE: Final = 100
_SESSION_CLAIM: Final = "sid"


class NoSession(APIException):
    """401: the token is missing, expired or forged, or its session has ended."""

    status_code = status.HTTP_401_UNAUTHORIZED
    default_code = "unauthorized"
    default_detail = "The session's token is not valid, or its session has ended. Log in again."
    auth_header = "Bearer"


def begin(user: User) -> Session:
    """A new session."""
    _forget_expired()
    return Session.objects.create(
        user=user,
        password_mark=user.get_session_auth_hash(),
        refresh_id=uuid4().hex,
        expires_at=timezone.now() + timedelta(days=settings.SESSION_DAYS),
    )


def of_request(request: HttpRequest) -> Session | None:
    """The session of the access cookie; None without one. Raises NoSession if it is no longer valid."""
    raw = request.COOKIES.get(access_cookie(), "")
    return _read(AccessToken, raw)[1] if raw else None


def rotate(request: HttpRequest) -> Session:
    """Replaces the refresh token of the request by a new one. From then on only the new one is valid.

    If a replaced token comes again after _GRACE, it was copied, and the session ends. If the token is of
    another session than the access token, it was planted. Raises NoSession.
    """
    token, session = _read(RefreshToken, request.COOKIES.get(refresh_cookie(), ""))
    try:
        shown = of_request(request)
    except NoSession:
        shown = None
    if shown is not None and shown != session:
        logger.warning(
            "A refresh token of user %s came with a session of user %s.",
            session.user_id,
            shown.user_id,
            extra=EACH,
        )
        raise NoSession
    presented, fresh = token["jti"], uuid4().hex
    mine = Session.objects.filter(pk=session.pk)
    if mine.filter(refresh_id=presented).update(refresh_id=fresh, replaced_id=presented, replaced_at=Now()):
        session.refresh_id = fresh
        return session
    if honest := mine.filter(replaced_id=presented, replaced_at__gt=Now() - _GRACE).first():
        return honest
    if mine.delete()[0]:
        logger.warning(
            "A refresh token of user %s came twice: the session is ended.", session.user_id, extra=EACH
        )
    raise NoSession


def end(request: HttpRequest) -> None:
    """Ends the sessions of the request's cookies, if there are any."""
    for kind, cookie in ((AccessToken, access_cookie()), (RefreshToken, refresh_cookie())):
        try:
            _read(kind, request.COOKIES.get(cookie, ""))[1].delete()
        except NoSession:
            continue


def access_cookie() -> str:
    """Its name. With `__Host-`, browsers insist on this host, the path / and TLS."""
    return "__Host-takeone-access" if settings.SESSION_COOKIE_SECURE else "takeone-access"


def refresh_cookie() -> str:
    """Its name. It has `__Host-`, although every request then carries the token: with `__Secure-`, a
    neighbouring host could plant its own."""
    return "__Host-takeone-refresh" if settings.SESSION_COOKIE_SECURE else "takeone-refresh"


def give_cookies(response: HttpResponseBase, session: Session) -> None:
    """Sets the cookies with a session's present tokens."""
    refresh = RefreshToken()
    refresh[_SESSION_CLAIM] = str(session.pk)
    refresh["jti"] = session.refresh_id
    refresh.set_exp(from_time=session.expires_at, lifetime=timedelta())
    access = refresh.access_token
    secure = settings.SESSION_COOKIE_SECURE
    # Lax: a link from elsewhere to a video works; what changes something needs the CSRF token as well.
    response.set_cookie(
        access_cookie(), str(access), access.lifetime, httponly=True, secure=secure, samesite="Lax"
    )
    response.set_cookie(
        refresh_cookie(),
        str(refresh),
        expires=session.expires_at,
        httponly=True,
        secure=secure,
        samesite="Strict",
    )


def take_cookies(response: HttpResponseBase) -> None:
    """Deletes both cookies."""
    response.delete_cookie(access_cookie(), samesite="Lax")
    response.delete_cookie(refresh_cookie(), samesite="Strict")


def _read(kind: type[Token], raw: str) -> tuple[Token, Session]:
    """A token of this kind and its session, with the user; raises NoSession."""
    try:
        token = kind(raw)  # type: ignore[arg-type]
    except TokenError as error:
        raise NoSession from error
    living = Session.objects.select_related("user").filter(expires_at__gt=Now())
    session = living.filter(pk=token.get(_SESSION_CLAIM)).first()
    if session is None or not session.user.is_active:
        raise NoSession
    if not constant_time_compare(session.password_mark, session.user.get_session_auth_hash()):
        raise NoSession
    return token, session


def _forget_expired() -> None:
    with transaction.atomic():
        expired = Session.objects.filter(expires_at__lte=Now()).order_by("expires_at")
        # Those that another log-in is deleting just now are its to delete.
        found = expired.select_for_update(skip_locked=True).values_list("pk", flat=True)
        Session.objects.filter(pk__in=list(found[:_FORGOTTEN_AT_ONCE])).delete()
