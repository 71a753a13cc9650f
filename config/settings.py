"""All settings of a deployment. The environment variables are listed in .env.example."""

import hmac
import os
import re
import secrets
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from config import env

BASE_DIR = Path(__file__).resolve().parent.parent
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
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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
MEDIA_ROOT = Path(env.text("TAKEONE_MEDIA", str(VAR_DIR / "media")))
# With less room left nothing is fetched until there is more.
MEDIA_MIN_FREE_BYTES = env.integer("MEDIA_MIN_FREE_BYTES", 268_435_456, least=0, most=1 << 50)

# Bodies ------------------------------------------------------------------------------------------------
# A create needs at most 2,000 + 2,000 characters of prompts and 16 KB of metadata.
REQUEST_BODY_MAX_BYTES = 1_048_576
DATA_UPLOAD_MAX_MEMORY_SIZE = REQUEST_BODY_MAX_BYTES
# What is read before anybody is known is far shorter: a log-in, an upstream's event.
OPEN_BODY_MAX_BYTES = {"/api/auth/": 16_384, "/admin/login/": 16_384, "/hooks/": 65_536}

# Database ----------------------------------------------------------------------------------------------
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Seconds to wait for one answer of the database: in a thread that serves callers, so that they get an answer
# within five seconds; and in workers and commands. Migrations have no limit.
DATABASE_WEB_SECONDS = env.number("DATABASE_WEB_SECONDS", 4, least=1, most=60)
DATABASE_WORK_SECONDS = env.number("DATABASE_WORK_SECONDS", 30, least=2, most=3_600)
# PostgreSQL ends the transaction of a process that is frozen in it after so many seconds.
DATABASE_IDLE_SECONDS = env.number("DATABASE_IDLE_SECONDS", 5, least=1, most=3_600)
_DATABASE_URL = env.url_with_password("DATABASE_URL", "DATABASE_PASSWORD", schemes=("postgres", "postgresql"))
if _DATABASE_URL:
    DATABASES = {
        "default": {
            **environ.Env.db_url_config(_DATABASE_URL),
            "ENGINE": "config.databases.postgresql",
            "CONN_MAX_AGE": 600,
            "CONN_HEALTH_CHECKS": True,
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "config.databases.sqlite3",
            "NAME": VAR_DIR / "takeone.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                # A transaction takes the one write lock when it begins, which is what row locks do for it.
                "transaction_mode": "IMMEDIATE",
                # FULL: a commit that was answered for survives a power cut.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    }

# Redis and Celery --------------------------------------------------------------------------------------
REDIS_URL = env.url_with_password("REDIS_URL", "REDIS_PASSWORD", schemes=("redis", "rediss"))
if REDIS_URL:
    CACHES = {
        "default": {
            "BACKEND": "config.cache.RedisOrMemory",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": DEPLOYMENT,
            # A request waits for a frozen Redis no longer than this, once in ten seconds.
            "OPTIONS": {"socket_timeout": 0.3, "socket_connect_timeout": 0.3},
        }
    }
    CELERY_BROKER_URL = REDIS_URL
    # Without these a publish to a frozen Redis blocks for over 40 s.
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {
        # Of queues, their bindings, and what is broadcast.
        "global_keyprefix": f"{DEPLOYMENT}:",
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
        "retry_on_timeout": False,
        # A publish to a Redis that is down fails at once; by default it waits 6 s first.
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0,
        "interval_max": 0,
        # A message may be lost with a killed worker. If Redis kept it until it is acknowledged, it would come
        # again after an hour, and a worker that could not acknowledge it to a frozen Redis would end when it
        # lost the connection (kombu 5.7).
        "ack_emulation": False,
    }
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    CELERY_BROKER_URL = "memory://localhost"
    # By default the in-memory transport polls once a second.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.1}

# django-ratelimit knows the backends that processes share by name, and ours is a Redis under another one; the
# one process of the embedded default has none.
SILENCED_SYSTEM_CHECKS = [
    "django_ratelimit.W001",
    *([] if REDIS_URL else ["django_ratelimit.E003"]),
    # HSTS for subdomains and for preload lists is the operator's choice.
    "security.W005",
    "security.W021",
]

CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "takeone"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
# Reopening the database connection for each task costs a factor of four.
CELERY_DB_REUSE_MAX = 1000
CELERY_BEAT_SCHEDULER = "videos.queue.celery_pulse:PulsedScheduler"
DISPATCH_SECONDS = env.number("DISPATCH_SECONDS", 1.0, least=0.1, most=60)
CELERY_BEAT_SCHEDULE = {
    # A dispatch that no worker took before the next ones came is worth nothing.
    "dispatch": {
        "task": "videos.dispatch",
        "schedule": DISPATCH_SECONDS,
        "options": {"expires": 5 * DISPATCH_SECONDS},
    },
    # The worker that ends the last job finishes a batch; this finds what a crash at that moment left.
    "batches": {
        "task": "batches.sweep",
        "schedule": 5 * DISPATCH_SECONDS,
        "options": {"expires": 25 * DISPATCH_SECONDS},
    },
    # What shows that messages are published and tasks done; /ready misses it after ten seconds.
    "heartbeat": {"task": "health.heartbeat", "schedule": 3.0, "options": {"expires": 9.0}},
    # Asks the upstream whether it answers, if nobody has called it for a while.
    "contact": {"task": "upstreams.calls.contact", "schedule": 1.0, "options": {"expires": 3.0}},
    # The figures of /metrics; the task itself keeps to its share of time.
    "measure": {"task": "health.measure", "schedule": 2.0, "options": {"expires": 6.0}},
}
# Whether somebody takes what is published: without Redis, only the threads of the embedded worker do.
WAKE_MESSAGES_ENABLED = bool(REDIS_URL) or bool(env.text("TAKEONE_EMBEDDED"))
WORK_THREADS = env.integer("WORK_THREADS", 8, least=1, most=64)

# The upstream ------------------------------------------------------------------------------------------
_SIMULATOR_URL = env.url("TAKEONE_SIMULATOR_URL")
SORA_BASE_URL = env.url("SORA_BASE_URL", _SIMULATOR_URL or "http://127.0.0.1:9000/v1")
# The simulator's own address in the environment (`make up` writes it there) is no choice of an upstream.
SORA_BASE_URL_CHOSEN = bool(env.url("SORA_BASE_URL")) and SORA_BASE_URL != _SIMULATOR_URL
SORA_PROVIDER = env.text("SORA_PROVIDER", "" if SORA_BASE_URL_CHOSEN else "simulator")
_SIMULATED = SORA_PROVIDER == "simulator"
SORA_API_KEY = env.text("SORA_API_KEY", "simulator" if _SIMULATED else "")
SORA_DIALECT = env.text("SORA_DIALECT", "openai")
SORA_MODEL = env.text("SORA_MODEL")
# The environment gives milliseconds, as BATCH_TIMEOUT does; the code counts in seconds.
SORA_TIMEOUT = env.number("SORA_TIMEOUT", 60_000, least=100, most=3_600_000) / 1000
SORA_RETRY_DELAY = env.number("SORA_RETRY_DELAY", 1_000, least=1, most=60_000) / 1000
SORA_MAX_RETRIES = env.integer("SORA_MAX_RETRIES", 3, least=0, most=20)
SORA_CONCURRENCY = env.integer("SORA_CONCURRENCY", 4, least=1, most=10_000)
# Creates per minute, over all workers; 0 sets no limit.
SORA_REQUESTS_PER_MINUTE = env.integer("SORA_REQUESTS_PER_MINUTE", 0, least=0, most=100_000)
# Failed creates in a row after which one at a time is tried, at growing distances.
SORA_BREAKER_FAILURES = env.integer("SORA_BREAKER_FAILURES", 5, least=1, most=1_000)
# How many jobs of one owner may wait, and may be live upstream, at a time; 0 sets no limit.
MAX_QUEUED_JOBS = env.integer("MAX_QUEUED_JOBS", 0, least=0, most=10_000_000)
MAX_IN_FLIGHT_JOBS = env.integer("MAX_IN_FLIGHT_JOBS", 0, least=0, most=10_000)
SORA_BILLS_FAILED = env.flag("SORA_BILLS_FAILED")
SORA_PRICES = env.text("SORA_PRICES")
# Searches of the upstream's list after a create of unknown outcome, in seconds after it became unknown.
SORA_RECONCILE_SECONDS = env.numbers(
    "SORA_RECONCILE_SECONDS", [2, 5, 15] if _SIMULATED else [5, 30, 120, 600]
)
# After so many seconds without a comparison, our books are compared with the upstream's list before a create.
SORA_BOOKS_GAP = env.number("SORA_BOOKS_GAP", 300, least=1, most=86_400)
SORA_CLOCK_SKEW = env.number("SORA_CLOCK_SKEW", 10, least=0, most=3600)
# After so many seconds without an answer a worker asks whether the upstream is there.
SORA_CONTACT_SECONDS = env.number("SORA_CONTACT_SECONDS", 5, least=1, most=3600)
# How often renders are asked after: a fifth of their age, within these bounds, in seconds.
SORA_SYNC_SECONDS_MIN = env.number("SORA_SYNC_SECONDS_MIN", 1 if _SIMULATED else 5, least=0.2, most=3600)
SORA_SYNC_SECONDS_MAX = env.number("SORA_SYNC_SECONDS_MAX", 15, least=0.2, most=3600)
# What signs the upstream's webhooks; without one, /hooks/sora is not there.
SORA_WEBHOOK_SECRET = env.signing_secrets("SORA_WEBHOOK_SECRET")
SORA_DOWNLOAD_SECONDS = env.number("SORA_DOWNLOAD_SECONDS", 600, least=1, most=86_400)
# A fetch that is slower over ten seconds ends, and is tried again later; 0 sets no limit.
SORA_DOWNLOAD_MIN_BYTES_PER_SECOND = env.integer(
    "SORA_DOWNLOAD_MIN_BYTES_PER_SECOND", 16_384, least=0, most=1 << 30
)
SORA_DOWNLOAD_MAX_BYTES = env.integer("SORA_DOWNLOAD_MAX_BYTES", 2_147_483_648, least=1, most=1 << 40)
# Hosts beside the upstream's own that a download may be sent on to.
SORA_CONTENT_HOSTS = env.words("SORA_CONTENT_HOSTS")
# Between two audits of the upstream's list and our rows, 0 for none; how many pages of 100 each one reads.
AUDIT_SECONDS = env.number("AUDIT_SECONDS", 3_600, least=0, most=31_536_000)
AUDIT_PAGES = env.integer("AUDIT_PAGES", 20, least=1, most=1_000)
# Seconds of waiting that raise a job's priority by one step.
PRIORITY_AGEING = env.number("PRIORITY_AGEING", 300, least=1, most=31_536_000)
JOB_GIVE_UP_AFTER = env.number("JOB_GIVE_UP_AFTER", 86_400, least=1, most=31_536_000)
JOB_OVERDUE_AFTER = env.number("JOB_OVERDUE_AFTER", 1_800, least=1, most=31_536_000)

# Batches -----------------------------------------------------------------------------------------------
# Videos of one POST /videos/batch, and items of one upload.
BATCH_MAX_SIZE = env.integer("BATCH_MAX_SIZE", 10, least=1, most=1_000)
BATCH_UPLOAD_MAX_SIZE = env.integer("BATCH_UPLOAD_MAX_SIZE", 10_000, least=1, most=100_000)
UPLOAD_PATHS = frozenset({"/api/v1/batches", "/api/v1/batches/estimate"})
UPLOAD_TYPES = frozenset({"text/csv", "application/x-ndjson", "application/jsonl"})
BATCH_UPLOAD_MAX_BYTES = env.integer("BATCH_UPLOAD_MAX_BYTES", 67_108_864, least=1_024, most=1 << 34)
# Jobs of a batch that are live upstream at a time, if its caller names no other number.
BATCH_CONCURRENCY = env.integer("BATCH_CONCURRENCY", 3, least=1, most=10_000)
# The environment gives milliseconds. A batch that takes longer is flagged as overdue.
BATCH_TIMEOUT = env.number("BATCH_TIMEOUT", 300_000, least=1, most=31_536_000_000) / 1000

# Monitoring --------------------------------------------------------------------------------------------
# The checks without which /ready is 503; health.checks has their names.
READY_REQUIRES = env.words("READY_REQUIRES") or ["repository", "soraClient"]
# Below these, in bytes, storage and memory are said to run out.
MIN_FREE_STORAGE_BYTES = env.integer("MIN_FREE_STORAGE_BYTES", 1_073_741_824, least=0, most=1 << 50)
MIN_FREE_MEMORY_BYTES = env.integer("MIN_FREE_MEMORY_BYTES", 67_108_864, least=0, most=1 << 50)
# The bearer token with which /metrics shows money. If it is unset, money is not shown.
METRICS_TOKEN = env.text("METRICS_TOKEN")

# REST --------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    # The key first: a request that carries one is judged by it alone.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.keys.authentication.ApiKeyAuthentication",
        "accounts.sessions.cookies.CookieAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "accounts.keys.permissions.HasScope",
    ],
    "DEFAULT_PARSER_CLASSES": ["api.requests.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "api.requests.AlwaysJSON",
    "DEFAULT_THROTTLE_CLASSES": ["accounts.limits.throttles.CallerThrottle"],
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "api.errors.render",
    "UNICODE_JSON": True,
}
# Calls per minute that an API key, a person or an unknown caller's address may make; 0 sets no limit.
RATE_LIMIT_READS_PER_MINUTE = env.integer("RATE_LIMIT_READS_PER_MINUTE", 600, least=0, most=1_000_000)
RATE_LIMIT_CREATES_PER_MINUTE = env.integer("RATE_LIMIT_CREATES_PER_MINUTE", 120, least=0, most=1_000_000)
RATE_LIMIT_LOGINS_PER_MINUTE = env.integer("RATE_LIMIT_LOGINS_PER_MINUTE", 20, least=0, most=1_000_000)
# Of an address: what is refused before its caller is known.
RATE_LIMIT_REFUSALS_PER_MINUTE = env.integer("RATE_LIMIT_REFUSALS_PER_MINUTE", 60, least=0, most=1_000_000)

SPECTACULAR_SETTINGS = {
    "TITLE": "Take One",
    "VERSION": VERSION,
    "DESCRIPTION": "Video generation jobs that are rendered once, paid once and never lost.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.openapi.describe_envelope",
    ],
    "ENUM_NAME_OVERRIDES": {
        "JobStatus": "videos.states.JobStatus",
        "BatchStatus": "batches.progress.BatchStatus",
        "ApiKeyScope": "accounts.models.ApiKey.Scope",
        "ApiKeyStatus": "accounts.models.ApiKey.Status",
    },
    "TAGS": [
        {"name": "videos", "description": "Ask for videos, follow them, fetch them."},
        {"name": "batches", "description": "Ask for many at once: JSON, CSV or JSON Lines."},
        {"name": "keys", "description": "Make, list and revoke API keys; needs the scope admin."},
        {"name": "generate", "description": "The same jobs in a plainer form."},
        {
            "name": "sessions",
            "description": "For people: register, log in and out; the session is in cookies.",
        },
        {"name": "hooks", "description": "For the upstream, which signs what it sends."},
        {"name": "health", "description": "For probes and monitoring; no key needed."},
    ],
}

# One JSON object for each line, or lines for people.
LOG_FORMAT = env.choice("LOG_FORMAT", "json", ["json", "text"])
LOGGING_CONFIG = "config.logs.configure"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "repeats": {"()": "config.log_repeats.RepeatsFilter"},
        "meant": {"()": "api.requests.MeantAnswersFilter"},
    },
    "formatters": {"line": {"()": "config.logs.line", "form": LOG_FORMAT}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "filters": ["repeats"], "formatter": "line"},
    },
    "root": {
        "handlers": ["console"],
        "level": env.choice("LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR"]),
    },
    "loggers": {
        "django.request": {"level": "ERROR", "filters": ["meant"]},
        # Each request has its line already, so runserver writes none.
        "django.server": {"level": "CRITICAL"},
        "celery": {"level": "WARNING"},
        "kombu": {"level": "WARNING"},
        "urllib3": {"level": "WARNING"},
        "waitress": {"level": "WARNING"},
        # It would say for each request that it has to wait for a thread.
        "waitress.queue": {"level": "ERROR"},
    },
}
