"""The service itself: its identity, its address, its apps, who may log in, and what it keeps."""

import hmac
import os
import re
import secrets
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from config import env

BASE_DIR = Path(__file__).resolve().parents[2]
VERSION = "0.2.0"
VAR_DIR = Path(env.text("TAKEONE_VAR", str(BASE_DIR / "var")))


def _secret_key() -> str:
    """SECRET_KEY, or a key that is made once and stored beside the embedded database."""
    if key := env.text("SECRET_KEY"):
        return key
    path = VAR_DIR / "secret_key"
    if not path.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        # Written aside and linked: of two processes that start at once, one key wins, and it is whole.
        draft = VAR_DIR / f"secret_key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(60))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()


SECRET_KEY = _secret_key()
DEBUG = False


def _deployment() -> str:
    """The prefix of names in Redis, because several deployments may share one.

    By default it is made from the secret key, which only the processes of one deployment have.
    """
    given = env.text("TAKEONE_NAME")
    if given and not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", given):
        raise ImproperlyConfigured(
            f"TAKEONE_NAME must be 1 to 40 letters, digits, hyphens and underscores, not {given!r}."
        )
    return f"takeone-{given or hmac.digest(SECRET_KEY.encode(), b'deployment', 'sha256').hex()[:16]}"


DEPLOYMENT = _deployment()

# The address under which callers reach this deployment. Its scheme decides whether cookies and redirects
# demand TLS.
TAKEONE_URL = env.url("TAKEONE_URL", "http://127.0.0.1:8000")
_HTTPS = TAKEONE_URL.startswith("https://")
ALLOWED_HOSTS = list(
    dict.fromkeys(
        [urlsplit(TAKEONE_URL).hostname or "", "127.0.0.1", "localhost", "[::1]", *env.words("ALLOWED_HOSTS")]
    )
)
CSRF_TRUSTED_ORIGINS = [TAKEONE_URL]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None
SECURE_SSL_REDIRECT = _HTTPS
# A container's own health check speaks plain HTTP to the port behind the proxy.
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$", r"^metrics$"]
# Of this host alone, unless its operator speaks for the whole domain: browsers remember it for a year.
SECURE_HSTS_SECONDS = env.integer("HSTS_SECONDS", 31_536_000 if _HTTPS else 0, least=0, most=63_072_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("HSTS_SUBDOMAINS")
SECURE_HSTS_PRELOAD = env.flag("HSTS_PRELOAD")
SESSION_COOKIE_SECURE = _HTTPS
CSRF_COOKIE_SECURE = _HTTPS
# A page of a neighbouring host can set no cookie of this name. Answers carry the token, too, as csrfToken.
CSRF_COOKIE_NAME = "__Host-csrftoken" if _HTTPS else "csrftoken"
# How many proxies before this service add to X-Forwarded-For; what stands left of theirs is anybody's word.
TRUSTED_PROXIES = env.integer("TRUSTED_PROXIES", int(_HTTPS), least=0, most=10)
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "accounts",
    "upstreams",
    "videos",
    "batches",
    "webhooks",
    "health",
]

MIDDLEWARE = [
    "api.requests.RequestIdMiddleware",
    "health.middleware.CountRequestsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "api.requests.BodyLimitMiddleware",
    "api.requests.HeadMiddleware",
    "accounts.limits.middleware.RateLimitMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # These, in this order, for pages alone.
    "api.pages.SessionMiddleware",
    "api.pages.CsrfViewMiddleware",
    "api.pages.AuthenticationMiddleware",
    "api.pages.MessageMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_USER_MODEL = "accounts.User"
# The admin shows a new API key by a message, and Django's default may keep that in the database.
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
_VALIDATION = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS: list[dict[str, object]] = [
    {"NAME": f"{_VALIDATION}.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": f"{_VALIDATION}.UserAttributeSimilarityValidator"},
    {"NAME": f"{_VALIDATION}.CommonPasswordValidator"},
    {"NAME": f"{_VALIDATION}.NumericPasswordValidator"},
]
# Whether anybody who can reach this service may make an account, and spend what an account may spend.
ALLOW_REGISTRATION = env.flag("ALLOW_REGISTRATION", not _HTTPS)
# A session ends after these, however much it was used.
SESSION_DAYS = env.integer("SESSION_DAYS", 14, least=1, most=365)
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    # A key for this only, and long enough even if SECRET_KEY is short.
    "SIGNING_KEY": hmac.digest(SECRET_KEY.encode(), b"session tokens", "sha256").hex(),
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    # Between the clocks of web servers.
    "LEEWAY": timedelta(seconds=10),
}
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True

# Bodies ------------------------------------------------------------------------------------------------
# A create needs at most 2,000 + 2,000 characters of prompts and 16 KB of metadata.
REQUEST_BODY_MAX_BYTES = 1_048_576
DATA_UPLOAD_MAX_MEMORY_SIZE = REQUEST_BODY_MAX_BYTES
# What is read before anybody is known is far shorter: a log-in, an upstream's event.
OPEN_BODY_MAX_BYTES = {"/api/auth/": 16_384, "/admin/login/": 16_384, "/hooks/": 65_536}
