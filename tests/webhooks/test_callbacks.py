"""Callbacks to an address that a create has named: they settle a create that was not answered."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from pytest_django import Settings

from tests.configured import configure
from tests.log_lines import Lines
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import submit_next
from tests.videos.test_submit import only, raising
from upstreams.client import errors
from upstreams.client.dialects.openrouter import OPENROUTER
from upstreams.client.types import CreateRequest
from upstreams.clock import database_now
from upstreams.offer.catalogue import AnyLength, AnySize, Catalogue, Model
from upstreams.registry import Upstream
from videos.models import Job, Submission

SECRET = "a plain secret"


@pytest.fixture
def upstream(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    settings.UPSTREAM_CALLBACK_URL = "https://takeone.example"
    found = scripted(OPENROUTER, catalogue=Catalogue({"a/b": Model(AnySize(), AnyLength())}, "a/b"))
    configure(monkeypatch, found)
    return found


@pytest.fixture(autouse=True)
def _unsigned(_secret: None, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the secret that other tests here have."""
    configure(monkeypatch, upstream)


@pytest.fixture
def _signing(_unsigned: None, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, replace(upstream, webhook_secrets=("another", SECRET)))


@pytest.fixture
def unanswered(job: Job, upstream: Upstream, sora: ScriptedClient) -> str:
    """The path of the address of a create that was accepted and not answered."""
    sora.after = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    assert only(job).state == "unknown"
    return path_of(sora)


def path_of(sora: ScriptedClient) -> str:
    address = urlsplit(str(sora.creates[-1].callback_url))
    assert (address.scheme, address.netloc) == ("https", "takeone.example")
    return address.path


def made(sora: ScriptedClient) -> str:
    (video_id,) = sora.videos
    return video_id


def body_of(video_id: object, **more: Any) -> bytes:
    data = {"id": video_id, "status": "completed", **more}
    return json.dumps({"type": "video.generation.completed", "created_at": "x", "data": data}).encode()


def signed(body: bytes, secret: str = SECRET, age: int = 0) -> dict[str, str]:
    at = int(time.time()) - age
    made = hmac.new(secret.encode(), f"{at},".encode() + body, hashlib.sha256).hexdigest()
    return {"X-OpenRouter-Signature": f"t={at},v1={made}"}


def send(path: str, body: bytes, headers: dict[str, str] | None = None) -> int:
    client = Client(enforce_csrf_checks=True)
    return client.post(path, body, content_type="application/json", headers=headers or {}).status_code


def test_it_settles_a_create_that_was_not_answered(job: Job, unanswered: str, sora: ScriptedClient) -> None:
    assert send(unanswered, body_of(made(sora))) == 204
    assert (only(job).state, only(job).upstream_id) == ("rendering", made(sora))
    assert Job.objects.get().status == "processing"
    assert len(sora.creates) == 1


def test_one_that_comes_again_changes_nothing(job: Job, unanswered: str, sora: ScriptedClient) -> None:
    for _ in range(3):
        assert send(unanswered, body_of(made(sora))) == 204
    assert job.events.filter(to_state="rendering").count() == 1


def test_one_before_the_creates_own_answer_is_taken(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    answers: list[int] = []

    def called_back(request: CreateRequest) -> None:
        answers.append(send(path_of(sora), body_of(made(sora))))

    sora.after = called_back
    submit_next(upstream)
    assert answers == [204]
    assert (only(job).state, only(job).upstream_id) == ("rendering", made(sora))


def test_its_own_video_again_has_it_asked_for_at_once(
    job: Job, unanswered: str, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr("videos.lifecycle.callbacks.wake", woken.append)
    assert send(unanswered, body_of(made(sora))) == 204
    # What it became is followed now, and its history says how it was found.
    assert woken == ["dispatch"]
    assert job.events.get(to_state="rendering").detail["how"] == "called back"
    later = database_now() + timedelta(hours=1)
    Submission.objects.update(due_at=later)
    assert send(unanswered, body_of("video_of_nobody")) == 204
    assert only(job).due_at == later
    assert send(unanswered, body_of(made(sora))) == 204
    due = only(job).due_at
    assert due is not None
    assert due <= database_now()


def test_an_address_opens_no_other_submission(
    job: Job, unanswered: str, sora: ScriptedClient, make_job: Callable[..., Job], upstream: Upstream
) -> None:
    other = make_job()
    submit_next(upstream)
    assert only(other).state == "unknown"
    folder, _, token = unanswered.rpartition("/")
    seal = token.partition("-")[2]
    assert send(f"{folder}/{only(other).pk}-{seal}", body_of(list(sora.videos)[1])) == 404
    assert only(other).state == "unknown"


def test_what_it_names_is_asked_for_and_not_believed(job: Job, unanswered: str, sora: ScriptedClient) -> None:
    assert send(unanswered, body_of("video_of_nobody")) == 204
    assert only(job).state == "unknown"


def test_another_video_than_its_own_is_not_taken(job: Job, unanswered: str, sora: ScriptedClient) -> None:
    mine = made(sora)
    assert send(unanswered, body_of(mine)) == 204
    other = sora.add(CreateRequest("a stranger", "a/b", "4", "1280x720"))
    assert send(unanswered, body_of(other.id)) == 204
    assert only(job).upstream_id == mine


def test_while_the_upstream_does_not_answer_it_is_to_be_sent_again(
    job: Job, unanswered: str, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(video_id: str, **_: Any) -> Any:
        raise errors.Unavailable("502")

    with monkeypatch.context() as patched:
        patched.setattr(sora, "retrieve", away)
        assert send(unanswered, body_of(made(sora))) == 503
    assert only(job).state == "unknown"
    assert send(unanswered, body_of(made(sora))) == 204
    assert only(job).state == "rendering"


FORGERIES: dict[str, Callable[[str], str]] = {
    "another submission's number": lambda path: path.replace("/callbacks/", "/callbacks/1"),
    "another seal": lambda path: path[:-1] + ("0" if path[-1] != "0" else "1"),
    "no seal": lambda path: path.partition("-")[0],
    "nothing": lambda path: "/hooks/callbacks/x",
    "a huge number": lambda path: path.replace("/callbacks/", "/callbacks/" + "9" * 20),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_address_is_nowhere(job: Job, unanswered: str, sora: ScriptedClient, forgery: str) -> None:
    assert send(FORGERIES[forgery](unanswered), body_of(made(sora))) == 404
    assert only(job).state == "unknown"


@pytest.mark.usefixtures("_signing")
def test_with_a_secret_it_must_be_signed(job: Job, unanswered: str, sora: ScriptedClient) -> None:
    body = body_of(made(sora))
    for headers in (
        {},
        signed(body, secret="guessed"),
        signed(body, age=301),
        signed(body, age=-400),
        signed(body + b" "),
        {"X-OpenRouter-Signature": "t=now,v1="},
        {"X-OpenRouter-Signature": "v1=" + "0" * 64},
    ):
        assert send(unanswered, body, headers) == 401
    assert only(job).state == "unknown"
    assert send(unanswered, body, signed(body)) == 204
    assert only(job).state == "rendering"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"type": "x"}',
        b'{"type": "x", "data": {}}',
        body_of(None),
        body_of("x" * 2001),
    ],
)
def test_what_is_no_callback_is_refused(job: Job, unanswered: str, body: bytes) -> None:
    assert send(unanswered, body) == 400
    assert only(job).state == "unknown"


def test_too_much_is_refused(job: Job, unanswered: str) -> None:
    assert send(unanswered, body_of("x", padding="x" * 70_000)) == 413


@pytest.mark.parametrize(
    ("url", "dialect"), [("", OPENROUTER), ("https://takeone.example", replace(OPENROUTER, calls_back=""))]
)
def test_no_address_is_named_that_nobody_could_call(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings, url: str, dialect: Any
) -> None:
    settings.UPSTREAM_CALLBACK_URL = url
    submit_next(replace(upstream, dialect=dialect))
    assert sora.creates[0].callback_url is None


def test_its_address_is_in_no_log_line(unanswered: str, sora: ScriptedClient, lines: Lines) -> None:
    token = unanswered.rpartition("/")[2]
    send(unanswered, body_of(made(sora)))
    send(unanswered + "0", body_of(made(sora)))
    send(unanswered, b"{")
    logged = lines()
    assert logged
    assert token not in json.dumps(logged)
    assert {line["path"] for line in logged if "path" in line} == {"/hooks/callbacks/…"}
