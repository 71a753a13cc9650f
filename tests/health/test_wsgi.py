"""What the web server answers before Django does anything."""

import importlib
import json
import sys
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from django.test import Client, RequestFactory

from api.logs.events import LogEvent
from config.databases import timeouts
from health.metrics.counters import counters
from health.readiness.checker import Checker, Readiness
from health.wsgi import Probes
from tests.log_lines import Lines


def touched(*_: Any, **__: Any) -> Any:
    raise AssertionError("touched")


def call(method: str, path: str, **headers: str) -> tuple[str, dict[str, str], bytes]:
    environ = RequestFactory().generic(method, path, **headers).environ  # type: ignore[arg-type]
    found: list[Any] = []
    body = b"".join(Probes(touched)(environ, lambda status, headers: found.extend((status, dict(headers)))))
    return found[0], found[1], body


@pytest.fixture
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a database nor a cache nor a broker."""
    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection", touched)
    monkeypatch.setattr("django.core.cache.backends.locmem.LocMemCache.get", touched)
    monkeypatch.setattr("django.core.cache.backends.locmem.LocMemCache.add", touched)
    monkeypatch.setattr("redis.Redis.execute_command", touched)


@pytest.mark.usefixtures("nothing_else")
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "evil.example", "not a host", ""])
def test_health_is_answered_whatever_the_host_and_touches_nothing(host: str) -> None:
    status, headers, body = call("GET", "/health", HTTP_HOST=host, HTTP_COOKIE="sessionid=abc; csrftoken=x")
    assert status == "200 OK"
    assert headers["Content-Type"] == "application/json"
    assert set(json.loads(body)) == {"status", "timestamp", "uptime", "version"}
    assert int(headers["Content-Length"]) == len(body)


def test_a_probe_is_one_line_at_debug(lines: Lines, debug: None) -> None:
    _, headers, _ = call("GET", "/health")
    (line,) = lines(LogEvent.REQUEST)
    assert (line["level"], line["path"], line["status"]) == ("debug", "/health", 200)
    assert line["request_id"] == headers["X-Request-Id"]


@pytest.mark.usefixtures("nothing_else")
def test_health_touches_nothing_through_the_middlewares_either(anybody: Client) -> None:
    anybody.cookies["sessionid"] = "abc"
    anybody.cookies["access_token"] = "abc"
    answer = anybody.get("/health", headers={"x-api-key": "guessed", "authorization": "Bearer x"})
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"


@pytest.mark.usefixtures("nothing_else")
def test_head_has_the_headers_alone() -> None:
    status, headers, body = call("HEAD", "/health")
    assert (status, body) == ("200 OK", b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", ["/ready", "/%72eady"])
def test_ready_is_answered_here_too(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    said = Readiness(False, {"repository": "unhealthy since …: no"})
    monkeypatch.setattr(Checker, "readiness", lambda self: said)
    status, headers, body = call("GET", path, HTTP_X_REQUEST_ID="abc")
    assert status == "503 Service Unavailable"
    assert json.loads(body)["checks"] == said.checks
    assert headers["X-Request-Id"] == "abc"
    assert headers["Cache-Control"] == "no-store"


def test_a_request_id_that_cannot_be_used_is_not_sent_back() -> None:
    assert "\n" not in call("GET", "/health", HTTP_X_REQUEST_ID="a\nSet-Cookie: b")[1]["X-Request-Id"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/healthy"), ("POST", "/health"), ("GET", "/metrics")]
)
def test_all_else_is_djangos(method: str, path: str) -> None:
    with pytest.raises(AssertionError, match="touched"):
        call(method, path)


def test_what_is_answered_here_is_counted() -> None:
    call("GET", "/health")
    key = ("takeone_http_requests", '{"method":"GET","route":"health","status":"200"}')
    assert counters._pending[key] == 1


@pytest.mark.django_db
def test_the_web_server_loads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    monkeypatch.setattr("health.metrics.observations.keep_regularly", lambda: begun.append(True))
    monkeypatch.setattr("config.startup.schema.schema_fault", lambda: "")
    monkeypatch.delitem(sys.modules, "config.wsgi", raising=False)
    application = importlib.import_module("config.wsgi").application
    assert isinstance(application, Probes)
    assert callable(application._application)
    assert begun == [True]
    assert _status_of(application, "application/json; charset=idna", "a=%ff") == 405
    assert _status_of(application, "application/json; charset=utf-8", "&".join(["a"] * 1_100)) == 405


def _status_of(application: Any, content_type: str, query: str) -> int:
    """The answer to a request that Django itself must read first."""
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/health", "QUERY_STRING": query}
    environ |= {"CONTENT_TYPE": content_type, "HTTP_HOST": "localhost"}
    setup_testing_defaults(environ)
    answered: list[str] = []
    # A thread that has served a caller keeps the limits of the web server.
    with timeouts.in_web():
        application(environ, lambda status, *_: answered.append(status)).close()
    return int(answered[0].split()[0])
