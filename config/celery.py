"""The Celery application; its settings are the CELERY_ ones of config.settings."""

import os
from typing import Any

from celery import Celery, states
from celery.signals import (
    import_modules,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_init,
    worker_process_shutdown,
)
from django.db import close_old_connections

from api.logs.tasks import begin_task, end_task

# Connects itself to Celery's signals.
from config import pulse as pulse
from config.startup.refusals import read_settings, refuse_to_start_badly

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("takeone")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# By name: the models are not there before Django is.
app.steps["worker"].add("videos.queue.celery_pulse:WorkerPulse")


@app.on_configure.connect
def read(**_: Any) -> None:
    """Reads the settings before the first one is used."""
    read_settings()


@import_modules.connect
def refuse(**_: Any) -> None:
    """Refuses bad settings and databases before the tasks are loaded, which only a worker and beat do."""
    refuse_to_start_badly()


@setup_logging.connect
def keep_logging(**_: Any) -> None:
    """Celery sets up no logging of its own if somebody hears of this: LOGGING is in force by now."""


@worker_init.connect
def share_out(sender: Any, **_: Any) -> None:
    """Opens the slots before the pool starts, because its processes share them."""
    from videos.queue import slots

    slots.share_out(sender.concurrency)


@task_prerun.connect
def begin(sender: Any, **_: Any) -> None:
    """Before anything of the task is logged."""
    begin_task(sender.name)


@task_prerun.connect
def mend_connections(**_: Any) -> None:
    """Replaces a connection that the database has dropped, as before each request.

    With CELERY_DB_REUSE_MAX, Celery itself checks a connection only after that many uses.
    """
    close_old_connections()


@task_postrun.connect
@worker_process_shutdown.connect
def keep_observations(**_: Any) -> None:
    """Saves what a process of the pool has counted and observed, between its tasks."""
    from health.metrics import observations

    observations.keep()


@task_postrun.connect
def end(state: str = "", **_: Any) -> None:
    """After all else that belongs to the task."""
    end_task(failed=state == states.FAILURE)
