"""Which tokens are taken, how long a session lasts, and what ends it."""

from typing import Final

from tests.faults.guards.guard import Guard

_SESSIONS = "accounts/sessions/tokens.py"
_SETTINGS = "config/settings.py"
_TESTS = "tests/accounts/test_sessions.py"
_TOKENS = "tests/accounts/test_session_tokens.py"

GUARDS: Final = (
    Guard("a token is verified", _SESSIONS, "token = kind(raw)", "token = kind(raw, verify=False)", _TOKENS),
    Guard(
        "an access token opens, a refresh token does not",
        _SESSIONS,
        "_read(AccessToken, raw)",
        "_read(RefreshToken, raw)",
        f"{_TOKENS} -k refresh_token_opens_nothing",
        (
            ("str(access), access.lifetime", "str(refresh), access.lifetime"),
            ("(AccessToken, access_cookie())", "(RefreshToken, access_cookie())"),
        ),
    ),
    Guard(
        "a token that is not taken is 401",
        _SESSIONS,
        "    except TokenError as error:",
        "    except NotImplementedError as error:",
        "tests/api/test_generate.py -k without_a_session",
    ),
    Guard(
        "tokens have a key of their own",
        _SETTINGS,
        'hmac.digest(SECRET_KEY.encode(), b"session tokens", "sha256").hex()',
        "SECRET_KEY",
        _TESTS,
    ),
    Guard("clocks may differ", _SETTINGS, '"LEEWAY": timedelta(seconds=10)', '"LEEWAY": 0', _TOKENS),
    Guard(
        "clocks may differ by seconds",
        _SETTINGS,
        '"LEEWAY": timedelta(seconds=10)',
        '"LEEWAY": timedelta(hours=1)',
        _TOKENS,
    ),
    Guard(
        "an access token is good for a quarter of an hour",
        _SETTINGS,
        "timedelta(minutes=15)",
        "timedelta(days=15)",
        _TOKENS,
    ),
    Guard(
        "a session ends when its row goes",
        _SESSIONS,
        "    if session is None or not session.user.is_active:\n        raise NoSession\n",
        "    if session is None:\n"
        "        session = Session(user=User.objects.first() or User())\n"
        "        return token, session\n"
        "    if not session.user.is_active:\n        raise NoSession\n",
        f"{_TESTS} -k log_out_ends_the_session_for_copies",
    ),
    Guard(
        "a session ends in time",
        _SESSIONS,
        'select_related("user").filter(expires_at__gt=Now())',
        'select_related("user")',
        _TESTS,
    ),
    Guard(
        "a refresh does not lengthen a session",
        _SESSIONS,
        "replaced_at=Now()):\n",
        "replaced_at=Now(), expires_at=Now() + timedelta(days=99)):\n",
        _TESTS,
    ),
    Guard(
        "a session ends with its person's activity",
        _SESSIONS,
        "session is None or not session.user.is_active",
        "session is None",
        _TESTS,
    ),
    Guard(
        "a session ends with its person's password",
        _SESSIONS,
        "    if not constant_time_compare(session.password_mark, session.user.get_session_auth_hash()):\n",
        "    if False:\n",
        _TESTS,
    ),
    Guard(
        "one refresh token is taken",
        _SESSIONS,
        "mine.filter(refresh_id=presented).update",
        "mine.update",
        _TESTS,
    ),
    Guard(
        "a refresh replaces the token",
        _SESSIONS,
        "update(refresh_id=fresh, replaced_id=presented",
        "update(replaced_id=presented",
        _TESTS,
        (("        session.refresh_id = fresh\n", ""),),
    ),
    Guard(
        "a replaced refresh token that comes again ends the session",
        _SESSIONS,
        "    if mine.delete()[0]:\n",
        "    if mine.exists():\n",
        _TESTS,
    ),
    Guard(
        "two tabs may refresh at once",
        _SESSIONS,
        "    if honest := ",
        "    if False and (honest := ",
        _TESTS,
        ((".first():\n        return honest", ".first()):\n        return honest"),),
    ),
    Guard(
        "the grace of a replaced refresh token is short",
        _SESSIONS,
        "replaced_id=presented, replaced_at__gt=Now() - _GRACE",
        "replaced_id=presented",
        _TESTS,
    ),
    Guard(
        "only the last refresh token has a grace",
        _SESSIONS,
        "filter(replaced_id=presented, replaced_at__gt",
        "filter(replaced_at__gt",
        _TESTS,
    ),
    Guard(
        "log-out ends the session",
        _SESSIONS,
        '_read(kind, request.COOKIES.get(cookie, ""))[1].delete()',
        '_read(kind, request.COOKIES.get(cookie, ""))',
        _TESTS,
    ),
    Guard(
        "log-out needs no access token",
        _SESSIONS,
        ", (RefreshToken, refresh_cookie())):",
        ",):",
        _TESTS,
    ),
    Guard(
        "log-out needs no refresh token",
        _SESSIONS,
        "((AccessToken, access_cookie()), (",
        "((",
        _TESTS,
        (("refresh_cookie())):", "refresh_cookie()),):"),),
    ),
    Guard(
        "scripts do not read the access token",
        _SESSIONS,
        "access.lifetime, httponly=True",
        "access.lifetime, httponly=False",
        _TESTS,
    ),
    Guard(
        "scripts do not read the refresh token",
        _SESSIONS,
        "        httponly=True,\n        secure",
        "        secure",
        _TESTS,
    ),
    Guard(
        "the access token stays on our site",
        _SESSIONS,
        'secure=secure, samesite="Lax"',
        "secure=secure",
        _TESTS,
    ),
    Guard("the refresh token stays on our site", _SESSIONS, '        samesite="Strict",\n', "", _TESTS),
    Guard(
        "the refresh cookie is of this host alone",
        _SESSIONS,
        '"__Host-takeone-refresh" if',
        '"__Secure-takeone-refresh" if',
        _TESTS,
    ),
    Guard(
        "a refresh does not swap the session",
        _SESSIONS,
        "    if shown is not None and shown != session:\n",
        "    if False:\n",
        _TESTS,
    ),
    Guard(
        "cookies are secure under https",
        _SESSIONS,
        "    secure = settings.SESSION_COOKIE_SECURE\n",
        "    secure = False\n",
        _TESTS,
    ),
    Guard(
        "the access cookie is of this host alone",
        _SESSIONS,
        '"__Host-takeone-access" if',
        '"takeone-access" if',
        _TESTS,
    ),
    Guard(
        "expired sessions are deleted",
        _SESSIONS,
        "    _forget_expired()\n",
        "",
        _TESTS,
    ),
    Guard(
        "only expired sessions are deleted",
        _SESSIONS,
        "Session.objects.filter(expires_at__lte=Now()).order_by",
        "Session.objects.order_by",
        _TESTS,
    ),
    Guard(
        "few expired sessions are deleted at once", _SESSIONS, "found[:_FORGOTTEN_AT_ONCE]", "found", _TESTS
    ),
)
