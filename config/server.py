"""Gunicorn's settings: `gunicorn -c python:config.server config.wsgi`.

With TAKEONE_EMBEDDED set, as `make up` does, the one web process also runs the Celery worker and beat.
"""

import contextlib
import os
import signal
from typing import Any

_EMBEDDED = bool(os.environ.get("TAKEONE_EMBEDDED"))

bind = os.environ.get("TAKEONE_BIND", "127.0.0.1:8000")
worker_class = "gthread"
workers = 1 if _EMBEDDED else int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "8"))
control_socket_disable = True
errorlog = "-"
loglevel = os.environ.get("GUNICORN_LOG_LEVEL", "warning")
# Longer than a slow request; a worker that does not beat for so long is replaced.
timeout = 60
graceful_timeout = 4 if _EMBEDDED else 30


def post_worker_init(worker: Any) -> None:
    """The application is loaded: start the embedded work, and say once that all is up."""
    if not _EMBEDDED:
        return
    from config import embedded

    embedded.start()
    if worker.age == 1 and (greeting := os.environ.get("TAKEONE_GREETING")):
        print(greeting, flush=True)


def worker_int(worker: Any) -> None:
    """Leave quickly; a second signal must not interrupt that."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def worker_exit(server: Any, worker: Any) -> None:
    """Give work in flight a moment; what does not end in it is left to its lease."""
    if not _EMBEDDED:
        return
    from config import embedded

    embedded.stop(within=2.5)
    # Python would wait for every thread of the pool, however long its call to the upstream takes.
    os._exit(0)


def on_exit(server: Any) -> None:
    """The simulator that `make up` started goes with it."""
    if pid := os.environ.get("TAKEONE_SIMULATOR_PID"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
