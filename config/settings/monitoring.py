"""What is watched, and what is logged."""

from config import env

# The checks without which /ready is 503; health.checks has their names.
READY_REQUIRES = env.words("READY_REQUIRES") or ["repository", "soraClient"]
# Below these, in bytes, storage and memory are said to run out.
MIN_FREE_STORAGE_BYTES = env.integer("MIN_FREE_STORAGE_BYTES", 1_073_741_824, least=0, most=1 << 50)
MIN_FREE_MEMORY_BYTES = env.integer("MIN_FREE_MEMORY_BYTES", 67_108_864, least=0, most=1 << 50)
# The bearer token with which /metrics shows money. If it is unset, money is not shown.
METRICS_TOKEN = env.text("METRICS_TOKEN")

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
