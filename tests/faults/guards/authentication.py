"""Who a caller is: API keys, sessions, lockout, CSRF, and the signatures of webhooks."""

from typing import Final

from tests.faults.guards.guard import Guard

GUARDS: Final = (
    Guard(
        "an API key is one that was issued",
        "accounts.models.api_key:ApiKey.of_secret",
        'cls.objects.select_related("owner").filter(digest=digest)',
        'cls.objects.select_related("owner")',
        "tests/api/test_authentication.py",
        also=(("key is not None and hmac.compare_digest(key.digest, digest)", "key is not None"),),
    ),
    Guard(
        "of an API key only its digest is kept",
        "accounts.models.api_key:ApiKey.digest_of",
        'hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()',
        "secret",
        "tests/accounts/test_keys.py",
    ),
    Guard(
        "an API key of an inactive owner opens nothing",
        "accounts.keys.authentication:ApiKeyAuthentication.authenticate",
        "not key.owner.is_active",
        "False",
        "tests/api/test_authentication.py",
    ),
    Guard(
        "a revoked API key opens nothing",
        "accounts.keys.authentication:ApiKeyAuthentication.authenticate",
        "key.status == ApiKey.Status.REVOKED",
        "False",
        "tests/api/test_authentication.py",
    ),
    Guard(
        "an expired API key opens nothing",
        "accounts.keys.authentication:ApiKeyAuthentication.authenticate",
        "key.status == ApiKey.Status.EXPIRED and key.expires_at is not None",
        "False",
        "tests/api/test_authentication.py",
    ),
    Guard(
        "an API key in the address is refused",
        "accounts.keys.authentication:ApiKeyAuthentication.authenticate",
        "_refuse_key_in_url(request)",
        "",
        "tests/api/test_authentication.py",
    ),
    Guard(
        "an API key does what its scope includes",
        "accounts.keys.permissions:HasScope.has_permission",
        "not request.auth.allows(needed)",
        "False",
        "tests/api/test_scopes.py",
    ),
    Guard(
        "every view asks for the API key's scope",
        "config.settings:",
        '"accounts.keys.permissions.HasScope"',
        "",
        "tests/api/test_scopes.py",
    ),
    Guard(
        "API keys are managed with the scope admin only",
        "accounts.keys.views:KeyViewSet",
        "required_scope = ApiKey.Scope.ADMIN",
        "",
        "tests/api/test_keys.py",
    ),
    Guard(
        "no log of ours shows an API key",
        "config.logs:Line.format",
        "hidden(super().format(record))",
        "super().format(record)",
        "tests/accounts/test_key_logs.py",
    ),
    Guard(
        "a key in a request is what it is judged by",
        "config.settings:",
        '["accounts.keys.authentication.ApiKeyAuthentication", "accounts.sessions.cookies.CookieAuthentication"]',
        '["accounts.sessions.cookies.CookieAuthentication", "accounts.keys.authentication.ApiKeyAuthentication"]',
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "a token is verified",
        "accounts.sessions.tokens:_read",
        "kind(raw)",
        "kind(raw, verify=False)",
        "tests/accounts/test_session_tokens.py",
    ),
    Guard(
        "an access token opens, a refresh token does not",
        "accounts.sessions.tokens:",
        "_read(AccessToken, raw)",
        "_read(RefreshToken, raw)",
        "tests/accounts/test_session_tokens.py -k refresh_token_opens_nothing",
        also=(
            ("str(access)", "str(refresh)"),
            ("(AccessToken, access_cookie())", "(RefreshToken, access_cookie())"),
        ),
    ),
    Guard(
        "a session ends in time",
        "accounts.sessions.tokens:_read",
        'Session.objects.select_related("user").filter(expires_at__gt=Now())',
        'Session.objects.select_related("user")',
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "a session ends with its person's activity",
        "accounts.sessions.tokens:_read",
        "session is None or not session.user.is_active",
        "session is None",
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "a session ends with its person's password",
        "accounts.sessions.tokens:_read",
        "not constant_time_compare(session.password_mark, session.user.get_session_auth_hash())",
        "False",
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "one refresh token is taken",
        "accounts.sessions.tokens:rotate",
        "mine.filter(refresh_id=presented)",
        "mine",
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "a replaced refresh token that comes again ends the session",
        "accounts.sessions.tokens:rotate",
        "mine.delete()[0]",
        "mine.exists()",
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "log-out ends the session",
        "accounts.sessions.tokens:end",
        '_read(kind, request.COOKIES.get(cookie, ""))[1].delete()',
        '_read(kind, request.COOKIES.get(cookie, ""))',
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "scripts do not read the access token",
        "accounts.sessions.tokens:give_cookies",
        """
        response.set_cookie(
            access_cookie(), str(access), access.lifetime, httponly=True, secure=secure, samesite="Lax"
        )
        """,
        """
        response.set_cookie(
            access_cookie(), str(access), access.lifetime, httponly=False, secure=secure, samesite="Lax"
        )
        """,
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "a cookie needs the CSRF token",
        "accounts.sessions.cookies:CookieAuthentication.authenticate",
        "enforce_csrf(request)",
        "",
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "a refresh needs the CSRF token",
        "accounts.sessions.views:RefreshView.post",
        "enforce_csrf(request)",
        "",
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "no page of another site logs in",
        "accounts.sessions.views:LoginView.post",
        "refuse_other_origins(request)",
        "",
        "tests/accounts/test_sessions.py",
    ),
    Guard(
        "log-ins that failed lock out",
        "accounts.sessions.views:LoginView.post",
        "lockout.admit(username, address_of(request._request), now=timezone.now())",
        'lockout.Attempt("", {})',
        "tests/accounts/test_lockout.py",
    ),
    Guard(
        "the admin's log-in counts as the API's does",
        "accounts.admin:",
        "admin.site.login_form = CountedLoginForm",
        "",
        "tests/accounts/test_lockout.py",
    ),
    Guard(
        "a lock refuses",
        "accounts.sessions.lockout:admit",
        "raise LockedOut(max(locks) - now)",
        "",
        "tests/accounts/test_lockout.py",
    ),
    Guard(
        "a try is counted before the password is looked at",
        "accounts.sessions.lockout:admit",
        "{subject: _count(row, rules[subject], now) for subject, row in rows.items()}",
        "dict.fromkeys(rows)",
        "tests/accounts/test_lockout.py",
    ),
    Guard(
        "an address is locked",
        "accounts.sessions.lockout:",
        "ADDRESS: Final = Rule(50, timedelta(hours=1), timedelta(minutes=15))",
        "ADDRESS: Final = Rule(500, timedelta(hours=1), timedelta(minutes=15))",
        "tests/accounts/test_lockout.py",
    ),
    Guard(
        "a username is locked",
        "accounts.sessions.lockout:",
        "USERNAME: Final = Rule(50, timedelta(hours=1), timedelta(minutes=15))",
        "USERNAME: Final = Rule(500, timedelta(hours=1), timedelta(minutes=15))",
        "tests/accounts/test_lockout.py",
    ),
    Guard(
        "a forged X-Forwarded-For is not believed",
        "accounts.addresses:address_of",
        "0 < settings.TRUSTED_PROXIES <= len(hops)",
        "True",
        "tests/accounts/test_lockout.py",
        also=(("-settings.TRUSTED_PROXIES", "0"),),
    ),
    Guard(
        "a webhook's signature is asked for",
        "webhooks.views:SoraHookView.post",
        "verify(request.headers, body, settings.SORA_WEBHOOK_SECRET)",
        'request.headers.get("webhook-id", "")',
        "tests/webhooks/test_sora_hook.py",
    ),
    Guard(
        "a webhook's signature is of its body as it came",
        "webhooks.views:SoraHookView.post",
        "body: bytes = request._request.body",
        'body = __import__("json").dumps(request.data).encode()',
        "tests/webhooks/test_sora_hook.py -k spacing",
    ),
    Guard(
        "a webhook whose signature is wrong is refused",
        "webhooks.signatures:verify",
        'raise Refused("No signature in webhook-signature is right.")',
        "return webhook_id",
        "tests/webhooks/test_signatures.py",
    ),
    Guard(
        "a webhook's signature covers its id",
        "webhooks.signatures:verify",
        'f"{webhook_id}.{timestamp}."',
        'f"wh_1.{timestamp}."',
        "tests/webhooks/test_signatures.py -k anything_else",
    ),
    Guard(
        "a webhook's signature covers its time",
        "webhooks.signatures:verify",
        'f"{webhook_id}.{timestamp}."',
        'f"{webhook_id}.{int(time.time())}."',
        "tests/webhooks/test_signatures.py -k anything_else",
    ),
    Guard(
        "a webhook is at most 300 s old",
        "webhooks.signatures:verify",
        "abs(age)",
        "-age",
        "tests/webhooks/test_signatures.py",
    ),
    Guard(
        "without a secret there is no hook",
        "webhooks.views:SoraHookView.dispatch",
        "not settings.SORA_WEBHOOK_SECRET",
        "False",
        "tests/webhooks/test_sora_hook.py",
    ),
    Guard(
        "a webhook that comes again is taken once",
        "webhooks.views:_take",
        """
        if seen.was_taken(webhook_id):
            return
        """,
        "",
        "tests/webhooks/test_duplicates.py",
    ),
    Guard(
        "the key goes to no other host",
        "upstreams.client.downloads:_redirected",
        'BearerAuth("") if session.strips_auth(request.url, target) else request.auth',
        "request.auth",
        "tests/sora/test_download.py -k redirects",
    ),
)
