"""No line of a log shows an API key, whoever writes it."""

import io
import logging
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client
from gunicorn.config import Config

from accounts.keys import key_format
from config.logs import Line
from config.server import Log, logger_class


@pytest.fixture
def console() -> Iterator[io.StringIO]:
    """What the settings' own handler writes."""
    (handler,) = [each for each in logging.getLogger().handlers if isinstance(each.formatter, Line)]
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before)


def test_our_own_handler_hides_keys_in_messages_and_tracebacks(console: io.StringIO) -> None:
    secret = key_format.generate()
    try:
        raise ValueError(f"cannot use {secret}")
    except ValueError:
        logging.getLogger("videos").exception("GET /api/v1/videos?api_key=hunter2 with %s", secret)
    written = console.getvalue()
    assert f"cannot use {secret[:12]}…" in written
    assert "?api_key=… with takeone_" in written
    assert secret[12:] not in written


def test_every_handler_of_the_settings_hides_them() -> None:
    formatters = {
        name for name, each in settings.LOGGING["formatters"].items() if each["()"] == "config.logs.Line"
    }
    assert {handler["formatter"] for handler in settings.LOGGING["handlers"].values()} <= formatters


def test_the_log_of_runserver_is_ours() -> None:
    server = logging.getLogger("django.server")
    # pytest adds handlers of its own.
    assert Line in [type(handler.formatter) for handler in server.handlers]
    assert not server.propagate


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
    refused, answered, encoded = written.getvalue().splitlines()
    assert encoded == f"GET /?x=takeone%5F{secret[8:12]}…&api%5Fkey=… HTTP/1.1"
    assert refused.endswith("'GET /?token=… HTTP'")
    assert answered == f'"GET /?x={secret[:12]}… HTTP/1.1"'
    assert logger_class is Log
