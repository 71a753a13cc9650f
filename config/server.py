"""Gunicorn's settings: `gunicorn -c python:config.server config.wsgi`.

With TAKEONE_EMBEDDED set, as `make up` does, the one web process also runs the Celery worker and beat.
"""

import contextlib
import os
import signal
import subprocess
import sys
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from config import env, logs
from config.log_repeats import RepeatsFilter
from config.startup.refusals import end

_EMBEDDED = bool(os.environ.get("TAKEONE_EMBEDDED"))


class Log(Logger):  # type: ignore[misc]
    """Gunicorn's log in the form of all others.

    The master does not read the settings: what it has read, a reload on SIGHUP would not read anew. That of
    `make up` has read them, and is started anew instead.
    """

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(logs.line(env.choice("LOG_FORMAT", "json", logs.FORMS)))
            handler.addFilter(RepeatsFilter())


def _count(name: str, default: int, *, most: int) -> int:
    """The variable. Ends the process if it is none; gunicorn itself would show where this file raised."""
    try:
        return env.integer(name, default, least=1, most=most)
    except ImproperlyConfigured as error:
        end(str(error))


bind = os.environ.get("TAKEONE_BIND", "127.0.0.1:8000")
worker_class = "config.web.worker.Worker"
workers = 1 if _EMBEDDED else _count("WEB_WORKERS", 2, most=64)
threads = _count("WEB_THREADS", 8, most=64)
worker_connections = _count("WEB_CONNECTIONS", 1_000, most=100_000)
control_socket_disable = True
errorlog = "-"
logger_class = Log
loglevel = os.environ.get("GUNICORN_LOG_LEVEL", "warning")
# A process that does not say for so long that it lives is replaced. The thread that says it serves no
# request, so none may be too long for it.
timeout = 20
graceful_timeout = 4 if _EMBEDDED else 30


def on_starting(server: Any) -> None:
    """Reports unusable settings once, and not in each worker.

    A short-lived process does it: a reload on SIGHUP would not reload what the master itself has loaded.
    """
    # `make up` has looked before it became this.
    if not _EMBEDDED and subprocess.run([sys.executable, "-c", "import config.wsgi"]).returncode:
        raise SystemExit(1)


def post_worker_init(worker: Any) -> None:
    """After the application is loaded: starts the embedded work, and prints once that everything is up."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, _leave)
    if not _EMBEDDED:
        return
    from config.embedded.threads import start
    from health.liveness import restart

    restart()
    start()
    if worker.age == 1 and (greeting := os.environ.get("TAKEONE_GREETING")):
        print(greeting, flush=True)


def _leave(number: int, frame: Any) -> NoReturn:
    """Exits quickly, and only once.

    Ctrl-C brings two signals: the terminal's SIGINT and the master's SIGQUIT. Gunicorn's own handler holds a
    lock for which the second would wait until the master kills the worker.
    """
    for later in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        # Not SIG_IGN: for a signal that has arrived already, that prints an error.
        signal.signal(later, lambda *_: None)
    raise SystemExit(0)


def worker_exit(server: Any, worker: Any) -> None:
    """Gives running work a moment. What does not end in that time continues when its lease ends."""
    if not _EMBEDDED:
        return
    from config.embedded.threads import stop

    stop(within=2.5)
    # Python would wait for every thread of the pool, however long its call to the upstream takes.
    os._exit(0)


def on_exit(server: Any) -> None:
    """Ends the simulator that `make up` started."""
    if pid := os.environ.get("TAKEONE_SIMULATOR_PID"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
