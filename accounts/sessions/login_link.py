"""Links that log an operator into the admin once, without a password."""

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.core import signing
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.models import User

MAX_AGE: Final = timedelta(minutes=10)
# Logs leave out what a parameter of this name has: accounts.keys.key_format.is_name.
PARAMETER: Final = "token"
_SALT: Final = "accounts.sessions.login_link"


class NotAllowed(Exception):
    """The user is not active, or may not use the admin."""


def link_for(user: User) -> str:
    """A link that logs the user into the admin once, within MAX_AGE. Raises NotAllowed."""
    if not (user.is_active and user.is_staff):
        raise NotAllowed
    token = signing.dumps([user.pk, _mark(user)], salt=_SALT)
    return f"{settings.TAKEONE_URL}{reverse('login-link')}?{PARAMETER}={token}"


def redeem(token: str) -> User | None:
    """The user of a valid link, which this uses up; None if it is forged, expired, used or not allowed."""
    try:
        pk, mark = signing.loads(token, salt=_SALT, max_age=MAX_AGE)
    except signing.BadSignature:
        return None
    user = User.objects.filter(pk=pk).first()
    if user is None or not constant_time_compare(mark, _mark(user)):
        return None
    # Of two requests with one link, the row lets one through.
    unchanged = User.objects.filter(
        pk=pk, is_active=True, is_staff=True, last_login=user.last_login, password=user.password
    )
    return user if unchanged.update(last_login=timezone.now()) else None


def _mark(user: User) -> str:
    """Changes with each log-in and with the password, so a link ends with either."""
    state = f"{user.last_login.isoformat() if user.last_login else ''} {user.password}"
    return salted_hmac(_SALT, state, algorithm="sha256").hexdigest()
