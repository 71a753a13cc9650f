"""A task says how long it took, if it did anything, and leaves nothing to the next one."""

from collections.abc import Callable

import pytest
import structlog
from celery import Celery, states
from celery.signals import setup_logging, task_postrun, task_prerun
from structlog.contextvars import bind_contextvars, get_contextvars

from api.logs.events import LogEvent
from config.celery import app
from tests.log_lines import Lines
from videos.management.commands import work as command
from videos.queue.dispatch import Work

logger = structlog.get_logger("x")


class Named:
    """What Celery's signals come from."""

    name = "videos.submit"


def run(task: Callable[[], object], state: str = states.SUCCESS) -> None:
    """As Celery does it."""
    task_prerun.send(Named)
    task()
    task_postrun.send(Named, state=state)


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.celery.close_old_connections", lambda: None)
    monkeypatch.setattr("health.metrics.observations.keep", lambda: None)


def test_a_task_that_logged_something_is_a_line_with_its_time(lines: Lines) -> None:
    run(lambda: logger.info("done something"))
    said, ended = lines()
    assert said["task"] == ended["task"] == "videos.submit"
    assert (ended["event"], ended["level"], ended["failed"]) == (LogEvent.TASK, "info", False)
    assert ended["duration_ms"] >= 0


def test_a_task_that_did_nothing_is_no_line_but_at_debug(lines: Lines, debug: None) -> None:
    run(lambda: logger.debug("looked"))
    assert [line["level"] for line in lines(LogEvent.TASK)] == ["debug"]


def test_a_task_that_failed_says_so(lines: Lines) -> None:
    run(lambda: logger.warning("failed"), states.FAILURE)
    assert lines(LogEvent.TASK)[0]["failed"] is True


def test_nothing_leaks_from_one_task_to_the_next(lines: Lines) -> None:
    run(lambda: bind_contextvars(job_id="one"))
    assert get_contextvars() == {}
    # One that was cut off before its end.
    task_prerun.send(Named)
    bind_contextvars(job_id="two")
    logger.info("two")
    run(lambda: logger.info("three"))
    assert "job_id" not in lines("three")[0]
    logger.info("between")
    assert "task" not in lines("between")[0]


@pytest.mark.parametrize(
    ("work", "name"), [(Work("sweep"), "videos.sweep"), ("batches.sweep", "batches.sweep")]
)
def test_manage_py_work_tells_its_tasks_as_celery_does(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, work: Work | str, name: str
) -> None:
    monkeypatch.setattr(command, "connections", type("None", (), {"close_all": staticmethod(lambda: None)}))
    command._do(work, lambda: logger.info("within"), {work})
    assert lines("within")[0]["task"] == name
    assert lines(LogEvent.TASK)[0]["task"] == name
    assert get_contextvars() == {}


def test_celery_sets_up_no_logging_of_its_own() -> None:
    assert isinstance(app, Celery)
    # Celery's own rule: who hears this signal has set it up.
    assert [receiver for _, receiver in setup_logging.send(sender=None, loglevel=10)] == [None]
