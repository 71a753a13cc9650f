"""One line for each request, and the request's id on all that it causes."""

import json
import logging

import pytest
import structlog
from django.test import Client
from structlog.contextvars import bind_contextvars, get_contextvars

from accounts.models import User
from api.logs.events import LogEvent
from tests.batches.conftest import MakeBatch, Renders
from tests.configured import configure
from tests.log_lines import Lines
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.models import Job

ASKED = {"prompt": "a paper boat"}
FLAT = {"prompt": "a paper boat", "style": "fun", "duration": 8, "aspectRatio": "16:9"}


def test_a_request_is_one_line_that_says_whose_it_is(
    api: Client, owner: User, secret: str, lines: Lines
) -> None:
    api.get("/api/v1/videos?status=pending", headers={"x-request-id": "mine-1"})
    (line,) = lines(LogEvent.REQUEST)
    assert line.pop("duration_ms") > 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "request answered",
        "logger": "api.logs.access",
        "method": "GET",
        "path": "/api/v1/videos",
        "status": 200,
        "owner": owner.pk,
        "key": secret[:12],
        "request_id": "mine-1",
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("POST", "/api/v1/videos", 400), ("DELETE", "/api/v1/videos", 405)],
)
def test_what_is_refused_is_one_line_as_well(
    api: Client, lines: Lines, method: str, path: str, status: int
) -> None:
    api.generic(method, path, b"{", "application/json")
    (line,) = lines(LogEvent.REQUEST)
    assert (line["method"], line["path"], line["status"]) == (method, path, status)


def test_a_body_that_is_too_long_is_one_line(api: Client, lines: Lines) -> None:
    assert api.post("/api/v1/videos", b"x" * 1_048_577, "application/json").status_code == 413
    (line,) = lines(LogEvent.REQUEST)
    assert line["status"] == 413


def test_a_bug_is_an_error_and_one_line(
    lines: Lines, owner: User, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("accounts.keys.authentication._refuse_key_in_url", bug)
    for _ in range(2):
        Client(raise_request_exception=False, headers={"x-api-key": secret}).get("/api/v1/videos")
    answered = lines(LogEvent.REQUEST)
    assert [line["status"] for line in answered] == [500, 500]
    told = [line for line in lines() if line["level"] == "error"]
    assert [line["request_id"] for line in told] == [line["request_id"] for line in answered]
    assert all("a bug" in line["exception"] for line in told), "each has its cause under its id"


def test_the_path_is_bounded_and_has_no_query(client: Client, lines: Lines, db: None) -> None:
    client.get(f"/{'x' * 5000}?secret=1")
    (line,) = lines(LogEvent.REQUEST)
    assert line["path"] == f"/{'x' * 199}"


@pytest.mark.parametrize("path", ["/metrics", "/health", "/ready"])
def test_a_probe_is_a_line_at_debug(
    client: Client, lines: Lines, transactional_db: None, debug: None, path: str
) -> None:
    client.get(path)
    assert [line["level"] for line in lines(LogEvent.REQUEST)] == ["debug"]
    logging.getLogger().setLevel(logging.INFO)
    client.get(path)
    assert len(lines(LogEvent.REQUEST)) == 1


def test_what_is_logged_meanwhile_has_the_id_and_nothing_of_the_request_before(
    api: Client, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(*_: object) -> None:
        structlog.get_logger("x").info("within")

    monkeypatch.setattr("accounts.keys.authentication._refuse_key_in_url", say)
    bind_contextvars(job_id="of another")
    api.get("/api/v1/videos", headers={"x-request-id": "mine-2"})
    (within,) = lines("within")
    assert within["request_id"] == "mine-2"
    assert "job_id" not in within
    assert get_contextvars() == {}


def test_a_session_says_whose_it_is(client: Client, lines: Lines, db: None) -> None:
    person = {"username": "grace", "password": "gulls drift past 7731", "email": "g@example.com"}
    assert client.post("/api/auth/register", person, "application/json").status_code == 201
    client.get("/api/auth/me")
    assert lines(LogEvent.REQUEST)[-1]["owner"] == User.objects.get(username="grace").pk


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/api/v1/videos", json.dumps(ASKED), "application/json"),
        ("/api/v1/videos/batch", json.dumps({"videos": [ASKED]}), "application/json"),
        ("/api/v1/batches", "prompt\na paper boat\n", "text/csv"),
        ("/api/videos/generate", json.dumps(FLAT), "application/json"),
    ],
)
def test_a_job_keeps_the_id_of_the_request_that_asked_for_it(
    api: Client, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, path: str, body: str, kind: str
) -> None:
    configure(monkeypatch, upstream)
    answer = api.post(path, body, kind, headers={"x-request-id": "mine-3"})
    assert answer.status_code in {200, 201}, answer.content
    assert Job.objects.get().request_id == "mine-3"


def test_a_retry_brings_its_own_id(api: Client, job: Job, upstream: Upstream) -> None:
    cancel(job)
    assert Job.objects.get().request_id == ""
    answer = api.post(
        f"/api/v1/videos/{job.pk}/retry", "", "application/json", headers={"x-request-id": "mine-5"}
    )
    assert answer.status_code == 200, answer.content
    assert Job.objects.get().request_id == "mine-5"


def test_the_retry_of_a_batch_brings_its_own_id(api: Client, make_batch: MakeBatch, renders: Renders) -> None:
    batch = make_batch(2)
    renders.run(batch, failing=("boat 1",))
    address = f"/api/v1/batches/{batch.pk}/retry"
    answer = api.post(address, "", "application/json", headers={"x-request-id": "mine-6"})
    assert answer.status_code == 200, answer.content
    assert dict(Job.objects.values_list("prompt", "request_id")) == {"boat 1": "mine-6", "boat 2": ""}
