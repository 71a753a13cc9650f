import json
import threading
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from tests.configured import configure, priced
from tests.timeouts import TIMEOUT
from tests.videos.scripted import eventually
from upstreams.registry import Upstream
from videos.models import Job
from videos.queue import wake

pytestmark = pytest.mark.django_db

URL = "/api/v1/videos"


def post(api: Client, body: Any, **more: Any) -> Any:
    raw = body if isinstance(body, bytes | str) else json.dumps(body)
    return api.post(URL, raw, content_type="application/json", **more)


def problem(response: Any) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"success", "error"}
    assert body["success"] is False
    assert set(body["error"]) == {"code", "message", "details", "requestId"}
    assert body["error"]["requestId"] == response["X-Request-Id"]
    return dict(body["error"])


def test_a_video_is_asked_for(api: Client) -> None:
    response = post(api, {"prompt": " A paper boat \n", "duration": 10, "style": "calm"})
    assert response.status_code == 201
    data = response.json()["data"]
    assert response.json()["success"] is True
    job = Job.objects.get()
    assert response["Location"] == f"http://testserver/api/v1/videos/{job.pk}"
    assert data == {
        "jobId": str(job.pk),
        "status": "pending",
        "message": "The video is queued.",
        "adjustments": [
            {
                "field": "duration",
                "asked": 10.0,
                "used": 12,
                "reason": "this upstream does not render that length",
            }
        ],
        "estimatedCost": "1.20",
    }
    assert job.prompt == "A paper boat"
    assert job.api_key is not None


def test_every_field_is_kept_as_asked(api: Client) -> None:
    request = {
        "prompt": "x" * 2000,
        "negativePrompt": "rain",
        "duration": 7.5,
        "resolution": "480p",
        "aspectRatio": "4:3",
        "fps": 60,
        "seed": 4294967295,
        "style": "fun",
        "model": "sora-2-pro",
        "priority": "high",
        "metadata": {"nested": [1, {"a": None}], "ünïcode": "🎬"},
    }
    job_id = post(api, request).json()["data"]["jobId"]
    shown = api.get(f"{URL}/{job_id}").json()["data"]
    assert {name: shown[name] for name in request} == request
    assert {adjusted["field"] for adjusted in shown["adjustments"]} == {
        "negativePrompt",
        "duration",
        "resolution",
        "aspectRatio",
        "fps",
        "seed",
    }


def test_strict_fitting_refuses_with_what_is_allowed(api: Client) -> None:
    request = {"prompt": "boat", "duration": 10, "aspectRatio": "1:1", "seed": 1, "fit": "strict"}
    response = post(api, request)
    assert response.status_code == 400
    details = {each["field"]: each["message"] for each in problem(response)["details"]}
    assert set(details) == {"duration", "aspectRatio", "seed"}
    assert "4, 8, 12, 16, 20" in details["duration"]
    assert "9:16, 16:9" in details["aspectRatio"]
    assert Job.objects.count() == 0


BAD: list[tuple[Any, str]] = [
    ({}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": "  \n "}, "prompt"),
    ({"prompt": "x" * 2001}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": ["boat"]}, "prompt"),
    ({"prompt": True}, "prompt"),
    ({"prompt": "boat", "negativePrompt": "x" * 2001}, "negativePrompt"),
    ({"prompt": "boat", "duration": 0.99}, "duration"),
    ({"prompt": "boat", "duration": 60.01}, "duration"),
    ({"prompt": "boat", "duration": "10"}, "duration"),
    ({"prompt": "boat", "duration": True}, "duration"),
    ({"prompt": "boat", "duration": 10**400}, "duration"),
    ({"prompt": "boat", "resolution": "8k"}, "resolution"),
    ({"prompt": "boat", "resolution": 720}, "resolution"),
    ({"prompt": "boat", "resolution": {"a": 1}}, "resolution"),
    ({"prompt": "boat", "aspectRatio": "20:9"}, "aspectRatio"),
    ({"prompt": "boat", "fps": 23}, "fps"),
    ({"prompt": "boat", "fps": 61}, "fps"),
    ({"prompt": "boat", "fps": 24.5}, "fps"),
    ({"prompt": "boat", "seed": -2}, "seed"),
    ({"prompt": "boat", "audio": "true"}, "audio"),
    ({"prompt": "boat", "audio": 1}, "audio"),
    ({"prompt": "boat", "extra": ["steps"]}, "extra"),
    ({"prompt": "boat", "extra": {"steps": "x" * 17_000}}, "extra"),
    ({"prompt": "boat", "seed": 2**63}, "seed"),
    ({"prompt": "boat", "style": "noir"}, "style"),
    ({"prompt": "boat", "model": ""}, "model"),
    ({"prompt": "boat", "model": "m" * 101}, "model"),
    ({"prompt": "boat", "priority": 1}, "priority"),
    ({"prompt": "boat", "metadata": []}, "metadata"),
    ({"prompt": "boat", "metadata": "text"}, "metadata"),
    ({"prompt": "boat", "metadata": {"a": "x" * 16_384}}, "metadata"),
    ({"prompt": "boat", "fit": "loose"}, "fit"),
    ({"prompt": "boat", "durration": 10}, "durration"),
    ({"prompt": "boat", "": 1}, "(empty name)"),
]


@pytest.mark.parametrize(("body", "field"), BAD, ids=[f"{n}-{field}" for n, (_, field) in enumerate(BAD)])
def test_a_bad_field_is_named_and_nothing_is_made(api: Client, body: Any, field: str) -> None:
    response = post(api, body)
    assert response.status_code == 400
    error = problem(response)
    assert error["code"] == "validation_failed"
    assert [each["field"] for each in error["details"]] == [field]
    assert field in error["message"]
    assert Job.objects.count() == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"not json",
        b'{"prompt": "boat", "duration": NaN}',
        b'{"prompt": "boat", "duration": Infinity}',
        b'{"prompt": "boat", "duration": -Infinity}',
        b'{"prompt": "boat", "duration": 1e999}',
        b'{"prompt": "boat", "metadata": {"deep": [1e999]}}',
        b'{"prompt": "boat", "prompt": "kite"}',
        b'{"prompt": "boat", "metadata": {"a": 1, "a": 2}}',
        b'{"prompt": "boat\\u0000"}',
        b'{"prompt": "boat", "metadata": {"a\\u0000": 1}}',
        b'{"prompt": "boat", "metadata": {"a": ["\\u0000"]}}',
        b'{"prompt": "boat \\ud800"}',
        b'{"prompt": "boat", "metadata": {"\\udfff": 1}}',
        b'{"prompt": "\xff"}',
        b'{"prompt": "boat", "seed": ' + b"9" * 5000 + b"}",
        b'{"prompt": "boat", "metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=range(17),
)
def test_what_is_not_json_or_cannot_be_stored_is_one_clear_error(api: Client, raw: bytes) -> None:
    response = post(api, raw)
    assert response.status_code == 400
    assert problem(response)["code"] == "malformed_body"
    assert Job.objects.count() == 0


@pytest.mark.parametrize("body", ["[]", '"text"', "5", "null", '[{"prompt": "boat"}]'])
def test_a_body_that_is_no_object_is_refused(api: Client, body: str) -> None:
    response = post(api, body)
    assert response.status_code == 400
    assert problem(response)["message"] == "The body must be a JSON object."


def test_no_body_at_all_lacks_a_prompt(api: Client) -> None:
    response = post(api, "")
    assert response.status_code == 400
    assert problem(response)["message"] == "prompt: This field is required."


def test_metadata_is_measured_in_bytes_as_compact_json(api: Client) -> None:
    fits = {"a": "ü" * ((16_384 - len('{"a":""}')) // 2)}
    assert post(api, {"prompt": "boat", "metadata": fits}).status_code == 201
    assert post(api, {"prompt": "boat", "metadata": {"a": fits["a"] + "ü"}}).status_code == 400


def test_a_body_of_10_mb_is_refused(api: Client) -> None:
    response = post(api, b'{"prompt": "' + b"x" * 10_000_000 + b'"}')
    assert response.status_code == 413
    error = problem(response)
    assert error["code"] == "payload_too_large"
    assert "1048576" in error["message"]


def test_a_body_of_unknown_length_is_refused(api: Client) -> None:
    response = api.generic("POST", URL, b"", headers={"transfer-encoding": "chunked"})
    assert response.status_code == 411
    assert problem(response)["code"] == "length_required"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png", ""])
def test_another_media_type_is_415(api: Client, kind: str) -> None:
    response = api.generic("POST", URL, b'{"prompt": "boat"}', content_type=kind)
    assert response.status_code == 415
    assert problem(response)["code"] == "unsupported_media_type"


def test_json_with_a_charset_is_json(api: Client) -> None:
    response = api.generic("POST", URL, b'{"prompt": "boat"}', content_type="Application/JSON; charset=utf-8")
    assert response.status_code == 201


def test_a_job_that_is_accepted_has_no_price_limit_where_none_is_listed(
    api: Client, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, priced(upstream, {}))
    assert post(api, {"prompt": "boat"}).json()["data"]["estimatedCost"] is None


def test_nothing_is_published_before_the_job_is_committed(
    api: Client, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    published: list[str] = []
    settings.WAKE_MESSAGES_ENABLED = True
    monkeypatch.setattr("videos.queue.wake.current_app.send_task", lambda name, **_: published.append(name))
    with django_capture_on_commit_callbacks() as callbacks:
        post(api, {"prompt": "boat"})
    assert published == []
    for callback in callbacks:
        callback()
    eventually(lambda: published == ["videos.submit"])


def test_a_broker_that_is_away_refuses_no_job_and_is_left_alone_for_a_while(
    api: Client,
    django_capture_on_commit_callbacks: Any,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries: list[str] = []

    def away(name: str, **_: Any) -> None:
        tries.append(name)
        raise ConnectionRefusedError("no broker")

    settings.WAKE_MESSAGES_ENABLED = True
    monkeypatch.setattr("videos.queue.wake._silent_until", 0.0)
    monkeypatch.setattr("videos.queue.wake.current_app.send_task", away)
    with django_capture_on_commit_callbacks(execute=True):
        assert post(api, {"prompt": "boat"}).status_code == 201
    eventually(lambda: "The next dispatch finds the work" in caplog.text)
    with django_capture_on_commit_callbacks(execute=True):
        assert post(api, {"prompt": "kite"}).status_code == 201
    eventually(lambda: not wake._hints._left)
    assert tries == ["videos.submit"]


def test_no_caller_waits_for_a_broker_that_hangs(
    api: Client, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    goes_on, asked = threading.Event(), threading.Event()
    published: list[str] = []

    def hang(name: str, **_: Any) -> None:
        asked.set()
        assert goes_on.wait(TIMEOUT)
        published.append(name)

    settings.WAKE_MESSAGES_ENABLED = True
    monkeypatch.setattr("videos.queue.wake.current_app.send_task", hang)
    try:
        # Returns only if it does not wait for what is set below.
        with django_capture_on_commit_callbacks(execute=True):
            post(api, {"prompt": "boat"})
        assert asked.wait(TIMEOUT)
        with django_capture_on_commit_callbacks(execute=True):
            post(api, {"prompt": "kite"})
            post(api, {"prompt": "owl"})
        assert published == []
    finally:
        goes_on.set()
    # Those that waited became one.
    eventually(lambda: published == ["videos.submit"] * 2)


def test_nothing_is_published_where_nobody_takes_it(
    api: Client, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    published: list[str] = []
    settings.WAKE_MESSAGES_ENABLED = False
    monkeypatch.setattr("videos.queue.wake.current_app.send_task", lambda name, **_: published.append(name))
    with django_capture_on_commit_callbacks(execute=True):
        post(api, {"prompt": "boat"})
    assert published == []


def test_a_size_in_pixels_stands_in_place_of_resolution_and_shape(api: Client) -> None:
    asked = {"prompt": "boat", "model": "sora-2-pro", "size": "1792x1024", "fit": "strict"}
    shown = api.get(f"{URL}/{post(api, asked).json()['data']['jobId']}").json()["data"]
    assert (shown["size"], shown["resolution"], shown["aspectRatio"]) == ("1792x1024", None, None)
    assert Job.objects.get().fitted["size"] == "1792x1024"


@pytest.mark.parametrize(
    ("size", "used"), [("1920x1080", "1280x720"), ("640x1000", "720x1280"), ("99999x10", "1280x720")]
)
def test_a_size_that_is_not_offered_becomes_the_nearest_or_is_refused(
    api: Client, size: str, used: str
) -> None:
    (adjustment,) = post(api, {"prompt": "boat", "size": size}).json()["data"]["adjustments"]
    assert (adjustment["field"], adjustment["asked"], adjustment["used"]) == ("size", size, used)
    response = post(api, {"prompt": "boat", "size": size, "fit": "strict"})
    assert response.status_code == 400
    assert "allowed: 720x1280, 1280x720" in problem(response)["message"]


@pytest.mark.parametrize(
    "asked",
    [{"size": "0x10"}, {"size": "big"}, {"size": 5}, {"size": "1280x720", "aspectRatio": "16:9"}],
)
def test_a_size_that_is_none_or_one_too_many_is_refused(api: Client, asked: dict[str, Any]) -> None:
    response = post(api, {"prompt": "boat", **asked})
    assert response.status_code == 400
    assert "size" in problem(response)["message"]
