"""API keys: which of them open something, how much, and what is never shown."""

from typing import Final

from tests.faults.guards.guard import Guard

_FORM = "accounts/keys/key_format.py"
_MODELS = "accounts/models.py"
_AUTHENTICATION = "accounts/keys/authentication.py"
_PERMISSIONS = "accounts/keys/permissions.py"
_VIEWS = "accounts/keys/views.py"
_WIRE = "accounts/keys/serializers.py"
_ADMIN = "accounts/admin.py"
_UP = "config/up.py"
# The migration, not the model, makes the schema; `makemigrations --check` keeps the two the same.
_SCHEMA = "accounts/migrations/0001_initial.py"
_CALLERS = "tests/api/test_authentication.py"
_KEPT = "tests/accounts/test_keys.py"
_SCOPES = "tests/api/test_scopes.py"
_REST = "tests/api/test_keys.py"
_IN_ADMIN = "tests/accounts/test_key_admin.py"
_LOGS = "tests/accounts/test_key_logs.py"
_FIRST = "tests/accounts/test_first_key.py"

_COMPARED: Final = " and hmac.compare_digest(key.digest, digest)"

GUARDS: Final = (
    Guard(
        "an API key's checksum is right",
        _FORM,
        "parts is not None and parts[2] == _checksum(parts[1])",
        "parts is not None",
        _KEPT,
    ),
    Guard(
        "an API key is a whole one",
        _FORM,
        "_WHOLE.fullmatch(secret)",
        "_WHOLE.search(secret)",
        _KEPT,
    ),
    Guard(
        "a malformed API key is refused without the database",
        _AUTHENTICATION,
        "    if not keys.is_well_formed(secret):\n",
        "    if False:\n",
        _CALLERS,
    ),
    Guard(
        "an API key is one that was issued",
        _MODELS,
        ".filter(digest=digest).first()",
        ".first()",
        _CALLERS,
        ((_COMPARED, ""),),
    ),
    Guard(
        "digests of API keys are compared in constant time",
        _MODELS,
        _COMPARED,
        "",
        _KEPT,
    ),
    Guard(
        "of an API key only its digest is kept",
        _MODELS,
        'return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()',
        "return secret",
        _KEPT,
    ),
    Guard(
        "an API key of an inactive owner opens nothing",
        _AUTHENTICATION,
        "        if not key.owner.is_active:\n",
        "        if False:\n",
        _CALLERS,
    ),
    Guard(
        "a revoked API key opens nothing",
        _AUTHENTICATION,
        "        if key.status == ApiKey.Status.REVOKED:\n",
        "        if False:\n",
        _CALLERS,
    ),
    Guard(
        "an expired API key opens nothing",
        _AUTHENTICATION,
        "        if key.status == ApiKey.Status.EXPIRED and key.expires_at is not None:\n",
        "        if False:\n",
        _CALLERS,
    ),
    Guard(
        "an API key expires at its time",
        _MODELS,
        "self.expires_at <= timezone.now()",
        "self.expires_at < timezone.now() - timedelta(minutes=1)",
        _KEPT,
    ),
    Guard(
        "only a bearer token is taken for an API key",
        _AUTHENTICATION,
        '    if scheme.lower() == "bearer":\n',
        "    if scheme:\n",
        _CALLERS,
    ),
    Guard(
        "an API key in another scheme is refused",
        _AUTHENTICATION,
        "    elif keys.is_in(authorization):\n",
        "    elif False:\n",
        _SCOPES,
    ),
    Guard(
        "an empty API key is refused",
        _AUTHENTICATION,
        '    if "x-api-key" in request.headers:\n',
        '    if request.headers.get("x-api-key"):\n',
        _SCOPES,
    ),
    Guard(
        "two API keys that differ are refused",
        _AUTHENTICATION,
        "    if len(sent) > 1:\n",
        "    if False:\n",
        _CALLERS,
    ),
    Guard(
        "an API key in the address is refused",
        _AUTHENTICATION,
        "        _refuse_key_in_url(request)\n",
        "",
        _CALLERS,
    ),
    Guard(
        "a parameter that is meant for an API key is refused",
        _AUTHENTICATION,
        "keys.is_name(name) or ",
        "",
        _CALLERS,
    ),
    Guard(
        "an API key is refused under any name of a parameter",
        _AUTHENTICATION,
        " or any(keys.is_in(text) for text in (name, *values))",
        "",
        _CALLERS,
    ),
    Guard(
        "who has no API key is told to bring one, by 401",
        _AUTHENTICATION,
        '        return "Bearer"\n',
        '        return ""\n',
        _CALLERS,
    ),
    Guard(
        "a request is judged by its API key before any cookie",
        "config/settings.py",
        '        "accounts.keys.authentication.ApiKeyAuthentication",\n'
        '        "accounts.sessions.cookies.CookieAuthentication",\n',
        '        "accounts.sessions.cookies.CookieAuthentication",\n'
        '        "accounts.keys.authentication.ApiKeyAuthentication",\n',
        _SCOPES,
    ),
    Guard(
        "an API key does what its scope includes",
        _PERMISSIONS,
        "        if not request.auth.allows(needed):\n",
        "        if False:\n",
        _SCOPES,
    ),
    Guard(
        "every view asks for the API key's scope",
        "config/settings.py",
        '        "accounts.keys.permissions.HasScope",\n',
        "",
        _SCOPES,
    ),
    Guard(
        "what changes something needs the scope write",
        _PERMISSIONS,
        "if request.method in SAFE_METHODS else ApiKey.Scope.WRITE",
        "if request.method in SAFE_METHODS else ApiKey.Scope.READ",
        _SCOPES,
    ),
    Guard(
        "API keys are managed with the scope admin only",
        _VIEWS,
        "    required_scope = ApiKey.Scope.ADMIN\n",
        "",
        _REST,
    ),
    Guard(
        "an API key has a known scope (check constraint)",
        _SCHEMA,
        '("scope__in", ["read", "write", "admin"])',
        '("scope__in", ["read", "write", "admin", "root"])',
        _KEPT,
    ),
    Guard(
        "an API key is not made with its end in the past",
        _WIRE,
        "        if value <= timezone.now():\n",
        "        if False:\n",
        _REST,
    ),
    Guard(
        "no cache keeps an API key that was made",
        _VIEWS,
        '            "Cache-Control": "no-store",\n',
        "",
        _REST,
    ),
    Guard(
        "an API key stays revoked since the first time",
        _MODELS,
        "ApiKey.objects.filter(pk=self.pk, revoked_at=None)",
        "ApiKey.objects.filter(pk=self.pk)",
        _KEPT,
    ),
    Guard(
        "no request writes when its API key was used a moment ago",
        _MODELS,
        "        if self.last_used_at is not None and self.last_used_at > stale:\n            return\n",
        "",
        _KEPT,
    ),
    Guard(
        "of requests in the same moment one writes when their API key was used",
        _MODELS,
        "ApiKey.objects.filter(unnoted, pk=self.pk)",
        "ApiKey.objects.filter(pk=self.pk)",
        _KEPT,
    ),
    Guard(
        "an API key's use that cannot be noted fails no request",
        _MODELS,
        "        except DatabaseError as error:\n",
        "        except NotImplementedError as error:\n",
        _KEPT,
    ),
    Guard(
        "the name of an API key disturbs no terminal",
        _FORM,
        "    if not name.isprintable():\n",
        "    if False:\n",
        _KEPT,
    ),
    Guard(
        "no log of ours shows an API key",
        "config/logs.py",
        "hidden(super().format(record))",
        "super().format(record)",
        _LOGS,
    ),
    Guard(
        "no log of ours shows an API key that is percent-encoded",
        _FORM,
        'f"(?:[{characters}]|%(?:25)*(?:{codes}))"',
        'f"(?:[{characters}]|{codes}0)"',
        _KEPT,
    ),
    Guard(
        "no log of ours shows what a parameter with a percent-encoded name has",
        _FORM,
        'unquote(_ENCODED_AGAIN.sub("%", found[1]))',
        "found[1]",
        _KEPT,
    ),
    Guard(
        "gunicorn's log shows no API key",
        "config/server.py",
        "handler.setFormatter(Line(handler.formatter._fmt, handler.formatter.datefmt))",
        "pass",
        _LOGS,
    ),
    Guard(
        "no message with an API key is kept in the database",
        "config/settings.py",
        'MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"\n',
        "",
        _IN_ADMIN,
    ),
    Guard(
        "the admin deletes no API key",
        _ADMIN,
        "def has_delete_permission(self",
        "def has_no_delete_permission(self",
        _IN_ADMIN,
    ),
    Guard(
        "an API key of an older form is replaced by make up",
        _UP,
        "    if not is_well_formed(kept):\n",
        "    if False:\n",
        _FIRST,
    ),
    Guard(
        "an API key that opens nothing is replaced by make up",
        _UP,
        "        if known.status == ApiKey.Status.ACTIVE:\n",
        "        if True:\n",
        _FIRST,
    ),
)
