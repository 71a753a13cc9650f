"""Who registers and logs in, what a cookie does not do by itself, and the plain face of jobs."""

from typing import Final

from tests.faults.guards.guard import Guard

_COOKIES = "accounts/sessions/cookies.py"
_VIEWS = "accounts/sessions/views.py"
_SETTINGS = "config/settings.py"
_GENERATE = "compat/views.py"
_SCHEMA = "accounts/migrations/0001_initial.py"
_TESTS = "tests/accounts/test_sessions.py"
_PLAIN = "tests/api/test_generate.py"

GUARDS: Final = (
    Guard("a cookie needs the CSRF token", _COOKIES, "        enforce_csrf(request)\n", "", _TESTS),
    Guard(
        "a refresh needs the CSRF token",
        _VIEWS,
        "        enforce_csrf(request)\n        session = sessions.rotate",
        "        session = sessions.rotate",
        _TESTS,
    ),
    Guard(
        "a log-out needs the CSRF token",
        _VIEWS,
        "        enforce_csrf(request)\n        sessions.end",
        "        sessions.end",
        _TESTS,
    ),
    Guard(
        "no page of another site logs in",
        _VIEWS,
        "        refuse_other_origins(request)\n        asked = Credentials",
        "        asked = Credentials",
        _TESTS,
    ),
    Guard(
        "no page of another site registers",
        _VIEWS,
        "        refuse_other_origins(request)\n        if not settings",
        "        if not settings",
        _TESTS,
    ),
    Guard(
        "a log-in makes a new CSRF token",
        _VIEWS,
        "    rotate_token(request._request)\n",
        "",
        _TESTS,
    ),
    Guard(
        "a log-in ends the session before it",
        _VIEWS,
        "    sessions.end(request._request)\n    session = ",
        "    session = ",
        _TESTS,
    ),
    Guard(
        "registration can be closed",
        _VIEWS,
        "        if not settings.ALLOW_REGISTRATION:\n",
        "        if False:\n",
        _TESTS,
    ),
    Guard(
        "https is https in any case",
        "config/env.py",
        '    return parts._replace(netloc=f"{user}{at}{host.lower()}").geturl()\n',
        "    return value\n",
        f"{_TESTS} tests/test_env.py",
    ),
    Guard(
        "registration is closed under https",
        _SETTINGS,
        'env.flag("ALLOW_REGISTRATION", not _HTTPS)',
        'env.flag("ALLOW_REGISTRATION", True)',
        _TESTS,
    ),
    Guard(
        "a weak password is refused",
        _VIEWS,
        "        validate_password(password, User(username=username, email=email))\n",
        "        pass\n",
        _TESTS,
    ),
    Guard(
        "a password unlike its person is demanded",
        _VIEWS,
        "validate_password(password, User(username=username, email=email))",
        "validate_password(password)",
        _TESTS,
    ),
    Guard(
        "a username is there once, in any case",
        _SCHEMA,
        'django.db.models.functions.text.Lower("username"), name="user_username_once"',
        'models.F("username"), name="user_username_once"',
        _TESTS,
    ),
    Guard(
        "a taken username is the caller's error",
        _VIEWS,
        "    except IntegrityError as error:\n",
        "    except NotImplementedError as error:\n",
        _TESTS,
    ),
    Guard(
        "an inactive person does not log in, and nobody learns of it",
        _VIEWS,
        "        user = authenticate(request._request, username=username, password=password)\n",
        "        found = User.objects.filter(username__iexact=username).first()\n"
        "        user = found if found and found.check_password(password) else None\n",
        _TESTS,
    ),
    Guard("answers with tokens are kept nowhere", _VIEWS, '= "no-store"', '= "private"', _TESTS),
    Guard(
        "a key in a request is what it is judged by",
        _SETTINGS,
        '        "accounts.keys.authentication.ApiKeyAuthentication",\n'
        '        "accounts.sessions.cookies.CookieAuthentication",\n',
        '        "accounts.sessions.cookies.CookieAuthentication",\n'
        '        "accounts.keys.authentication.ApiKeyAuthentication",\n',
        _TESTS,
    ),
    Guard(
        "another person's job is 403 in the plain face",
        "accounts/ownership.py",
        "if told and rows.filter(pk=pk).exists():",
        "if False:",
        _PLAIN,
    ),
    Guard(
        "a video of the plain face is made once under an idempotency key",
        _GENERATE,
        "        return once(request, lambda: self._create(request))\n",
        "        return self._create(request)\n",
        _PLAIN,
    ),
    Guard(
        "a wish of the plain face is checked",
        _GENERATE,
        "prompt = Text(max_length=MAX_PROMPT_LENGTH,",
        "prompt = Text(max_length=2000,",
        _PLAIN,
    ),
)
