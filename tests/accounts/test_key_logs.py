"""No line of a log shows an API key, whoever writes it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from django.conf import settings
from django.test import Client
from gunicorn.config import Config

from accounts.keys import key_format
from config.logs import FORMS
from config.server import Log, logger_class
from tests import log_lines


@pytest.fixture(params=FORMS)
def console(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    with log_lines.console(request.param) as written:
        yield written


def test_our_own_handler_hides_keys_in_messages_and_tracebacks(console: io.StringIO) -> None:
    secret = key_format.generate()
    try:
        raise ValueError(f"cannot use {secret}")
    except ValueError:
        logging.getLogger("videos").exception("GET /api/v1/videos?api_key=hunter2 with %s", secret)
    written = console.getvalue().replace("\\u2026", "…")
    assert f"cannot use {secret[:12]}…" in written
    assert "?api_key=… with takeone_" in written
    assert secret[12:] not in written


def test_a_field_with_a_key_is_cut_and_stays_json(console: io.StringIO) -> None:
    secret = key_format.generate()
    structlog.get_logger("videos").warning("called", address=f'"?token={secret}"', found={secret: [secret]})
    written = console.getvalue()
    assert secret[12:] not in written
    if written.startswith("{"):
        said = json.loads(written)
        assert said["address"] == '"?token=…"'
        assert said["found"] == {f"{secret[:12]}…": [f"{secret[:12]}…"]}


def test_every_handler_of_the_settings_hides_them() -> None:
    formatters = {
        name for name, each in settings.LOGGING["formatters"].items() if each["()"] == "config.logs.line"
    }
    assert {handler["formatter"] for handler in settings.LOGGING["handlers"].values()} <= formatters


def test_runserver_writes_no_second_line_for_a_request() -> None:
    server = logging.getLogger("django.server")
    assert not server.isEnabledFor(logging.ERROR)
    # pytest adds handlers of its own.
    assert not [each for each in server.handlers if type(each).__module__.startswith(("logging", "django"))]


def test_a_bug_in_a_request_with_a_key_in_its_address_is_logged_without_it(
    console: io.StringIO, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    secret = key_format.generate()
    monkeypatch.setattr("accounts.keys.authentication._refuse_key_in_url", bug)
    client = Client(raise_request_exception=False)
    assert client.get(f"/api/v1/videos?key={secret}").status_code == 500
    assert "a bug" in console.getvalue()
    assert secret[12:] not in console.getvalue()


@pytest.fixture
def gunicorn() -> Iterator[tuple[Log, io.StringIO]]:
    """Gunicorn's log with its access log on, and what both write."""
    loggers = [logging.getLogger(name) for name in ("gunicorn.error", "gunicorn.access")]
    before = [(list(each.handlers), each.propagate, each.level) for each in loggers]
    config = Config()
    config.set("accesslog", "-")
    log, written = Log(config), io.StringIO()
    for each in loggers:
        (handler,) = each.handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(written)
    yield log, written
    for each, (handlers, propagate, level) in zip(loggers, before, strict=True):
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)


def test_gunicorn_quotes_no_key_of_a_request_line(gunicorn: tuple[Log, io.StringIO]) -> None:
    log, written = gunicorn
    secret = key_format.generate()
    log.warning(f"Invalid request from ip=127.0.0.1: Invalid HTTP request line: 'GET /?token={secret} HTTP'")
    log.access_log.info('"%s"', f"GET /?x={secret} HTTP/1.1")
    log.access_log.info("%s", f"GET /?x={secret.replace('_', '%5F')}&api%5Fkey=hunter2 HTTP/1.1")
    refused, answered, encoded = (json.loads(each)["event"] for each in written.getvalue().splitlines())
    assert encoded == f"GET /?x=takeone%5F{secret[8:12]}…&api%5Fkey=… HTTP/1.1"
    assert refused.endswith("'GET /?token=… HTTP'")
    assert answered == f'"GET /?x={secret[:12]}… HTTP/1.1"'
    assert logger_class is Log


def test_gunicorn_repeats_itself_once_a_minute(gunicorn: tuple[Log, io.StringIO]) -> None:
    log, written = gunicorn
    for number in range(3):
        log.warning("Worker %s does not start", number)
    assert len(written.getvalue().splitlines()) == 1
