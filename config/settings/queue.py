"""Redis, or memory; Celery, and what beat publishes."""

from config import env
from config.settings.service import DEPLOYMENT

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
    # The one that there is, is a subclass (api.pages).
    "security.W003",
    # HSTS for subdomains and for preload lists is the operator's choice.
    "security.W005",
    "security.W021",
]

CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "takeone"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# A Redis that has become a replica refuses each write, and by default that ends the worker.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
# Reopening the database connection for each task costs a factor of four.
CELERY_DB_REUSE_MAX = 1000
CELERY_BEAT_SCHEDULER = "videos.queue.celery_pulse:PulsedScheduler"
# How old a message may be when a worker takes it, by the clocks of two machines, which may differ by as much.
# It bounds what waits in the broker while no worker runs.
MESSAGE_SECONDS = 600
_FRESH = {"expires": MESSAGE_SECONDS}
DISPATCH_SECONDS = env.number("DISPATCH_SECONDS", 1.0, least=0.1, most=60)
CELERY_BEAT_SCHEDULE = {
    # Of those that have waited together, a worker carries out one (videos.tasks.dispatch).
    "dispatch": {"task": "videos.dispatch", "schedule": DISPATCH_SECONDS, "options": _FRESH},
    # The worker that ends the last job finishes a batch; this finds what a crash at that moment left.
    "batches": {"task": "batches.sweep", "schedule": 5 * DISPATCH_SECONDS, "options": _FRESH},
    # What shows that messages are published and tasks done; /ready misses it after ten seconds.
    "heartbeat": {"task": "health.heartbeat", "schedule": 3.0, "options": _FRESH},
    # Asks the upstream whether it answers, if nobody has called it for a while.
    "contact": {"task": "upstreams.calls.contact", "schedule": 1.0, "options": _FRESH},
    # Each call looks at a part of the folder (videos.references.sweep).
    "references": {"task": "videos.sweep_references", "schedule": 600.0, "options": _FRESH},
    # Small pictures of completed videos.
    "previews": {"task": "videos.make_previews", "schedule": 5.0, "options": _FRESH},
    # Files whose time is over, and those that no job uses (videos.retention.sweep looks at a part of them).
    "results": {"task": "videos.sweep_results", "schedule": 600.0, "options": _FRESH},
    # What is reserved and spent, for /metrics and for budgets (accounts.budgets.counting).
    "count": {"task": "accounts.count", "schedule": 2.0, "options": _FRESH},
    # What jobs that have ended came to, for the usage of their owners (videos.usage.count).
    "usage": {"task": "videos.count_usage", "schedule": 30.0, "options": _FRESH},
    # What ended long ago, if JOB_RETENTION_DAYS is set; batches first, then their jobs and the others.
    "archive_batches": {"task": "batches.archive", "schedule": 600.0, "options": _FRESH},
    "archive": {"task": "videos.archive", "schedule": 600.0, "options": _FRESH},
    "forget": {"task": "accounts.forget", "schedule": 10.0, "options": _FRESH},
    # The figures of /metrics; the task itself keeps to its share of time.
    "measure": {"task": "health.measure", "schedule": 5.0, "options": _FRESH},
}
# Whether somebody takes what is published: without Redis, only the threads of the embedded worker do.
WAKE_MESSAGES_ENABLED = bool(REDIS_URL) or bool(env.text("TAKEONE_EMBEDDED"))
WORK_THREADS = env.integer("WORK_THREADS", 8, least=1, most=64)
