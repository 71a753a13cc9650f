"""PostgreSQL, or SQLite beside the code."""

from config import env
from config.settings.service import VAR_DIR

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Seconds to wait for one answer of the database: in a thread that serves callers, so that they get an answer
# within five seconds; and in workers and commands. Migrations have no limit.
DATABASE_WEB_SECONDS = env.number("DATABASE_WEB_SECONDS", 4, least=1, most=60)
DATABASE_WORK_SECONDS = env.number("DATABASE_WORK_SECONDS", 30, least=2, most=3_600)
# PostgreSQL ends the transaction of a process that is frozen in it after so many seconds.
DATABASE_IDLE_SECONDS = env.number("DATABASE_IDLE_SECONDS", 5, least=1, most=3_600)
# Whether PostgreSQL plans a statement that is the same each time once for a connection. A pooler between may
# forget what was prepared.
DATABASE_PREPARE = env.flag("DATABASE_PREPARE", True)
_POSTGRESQL = env.postgresql("DATABASE_URL", "DATABASE_PASSWORD")
if _POSTGRESQL:
    DATABASES = {
        "default": {
            **_POSTGRESQL,
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
