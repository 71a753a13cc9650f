"""The plain face of jobs, as the second seed has it, by cookie and by key."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, User
from tests.accounts.browser import PASSWORD, Browser
from tests.api.test_create import problem
from tests.api.test_read import completed
from tests.api.test_schema import check, schema
from tests.configured import configure
from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from upstreams.client.types import Phase
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.sweep import sweep
from videos.models import Job

pytestmark = pytest.mark.django_db

__all__ = ["completed", "schema"]

URL = "/api/videos"
REQUEST = {"prompt": "fun science brain animation", "style": "fun", "duration": 8, "aspectRatio": "16:9"}
NONE = "0195f8a2-c3d4-7e1f-8a2b-000000000000"


@pytest.fixture(autouse=True)
def _scripted(upstream: Upstream, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    configure(monkeypatch, upstream)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def browser(owner: User) -> Browser:
    """One in which the owner of the jobs is logged in."""
    owner.set_password(PASSWORD)
    owner.save()
    browser = Browser()
    assert browser.log_in("ada").status_code == 200
    return browser


@pytest.fixture(params=["cookie", "key"])
def caller(request: pytest.FixtureRequest) -> Browser:
    """The owner, by either way of saying so."""
    if request.param == "cookie":
        return request.getfixturevalue("browser")  # type: ignore[no-any-return]
    return Browser(**{"x-api-key": request.getfixturevalue("secret")})


def generate(caller: Browser, body: Any = REQUEST, **headers: str) -> Any:
    return caller.post(f"{URL}/generate", body, **headers)


def shown(caller: Browser, job: Job) -> dict[str, Any]:
    response = caller.get(f"{URL}/{job.pk}")
    assert response.status_code == 200, response.content
    body = response.json()
    assert set(body) == {"success", "data"}
    assert body["success"] is True
    return dict(body["data"])


def test_a_video_is_asked_for(caller: Browser, owner: User) -> None:
    response = generate(caller)
    assert response.status_code == 201
    job = Job.objects.get()
    assert response.json() == {"success": True, "data": {"jobId": str(job.pk), "status": "queued"}}
    assert (job.owner, job.status, job.prompt) == (owner, "pending", REQUEST["prompt"])
    assert (job.style, job.duration, job.aspect_ratio) == ("fun", 8.0, "16:9")
    assert response["Location"] == f"http://testserver{URL}/{job.pk}"
    assert caller.get(response["Location"]).status_code == 200


def test_a_job_is_flat_and_has_exactly_these_fields(caller: Browser) -> None:
    job_id = generate(caller).json()["data"]["jobId"]
    job = Job.objects.get()
    data = shown(caller, job)
    moments = [data.pop("createdAt"), data.pop("updatedAt")]
    assert data == {
        "jobId": job_id,
        "status": "queued",
        "videoUrl": None,
        "errorMessage": None,
        **REQUEST,
    }
    # As JavaScript writes them: 2026-01-08T10:00:00.000Z.
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment) for moment in moments)
    assert json.dumps(data["duration"]) == "8"


def test_the_four_statuses(
    caller: Browser, make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    job = make_job()
    assert shown(caller, job)["status"] == "queued"
    submit_next(upstream)
    assert shown(caller, job)["status"] == "processing"
    sora.fail(str(job.submissions.get().upstream_id))
    sweep(upstream)
    failed = shown(caller, job)
    assert (failed["status"], failed["errorMessage"]) == ("failed", "Your request was blocked.")
    assert failed["videoUrl"] is None


def test_a_completed_job_has_its_video(caller: Browser, completed: Job) -> None:
    data = shown(caller, completed)
    assert (data["status"], data["errorMessage"]) == ("completed", None)
    assert data["videoUrl"] == f"http://testserver/api/v1/videos/{completed.pk}/content"
    video = caller.get(data["videoUrl"])
    assert (video.status_code, video["Content-Type"]) == (200, "video/mp4")
    assert b"".join(video.streaming_content) == clip()


def test_a_cancelled_job_is_failed_and_says_why(
    caller: Browser, make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    mine = make_job()
    cancel(mine)
    data = shown(caller, mine)
    assert (data["status"], data["errorMessage"]) == ("failed", "It was cancelled by its caller.")
    theirs = make_job()
    submit_next(upstream)
    sora.set(str(theirs.submissions.get().upstream_id), Phase.CANCELLED)
    sweep(upstream)
    data = shown(caller, theirs)
    assert (data["status"], data["errorMessage"]) == ("failed", "It was cancelled by the upstream.")


def test_a_job_that_was_asked_for_elsewhere_is_shown_as_it_is(
    caller: Browser, make_job: Callable[..., Job]
) -> None:
    data = shown(caller, make_job("x" * 2000, duration=7.5))
    assert (data["style"], data["duration"], data["aspectRatio"]) == (None, 7.5, None)
    assert len(data["prompt"]) == 2000


BAD: list[tuple[dict[str, Any], str]] = [
    ({"prompt": ""}, "prompt"),
    ({"prompt": " \n"}, "prompt"),
    ({"prompt": "x" * 1001}, "prompt"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"style": "noir"}, "style"),
    ({"style": ""}, "style"),
    ({"style": "FUN"}, "style"),
    ({"style": None}, "style"),
    ({"style": ["fun"]}, "style"),
    ({"duration": 0}, "duration"),
    ({"duration": 0.99}, "duration"),
    ({"duration": 60.01}, "duration"),
    ({"duration": 61}, "duration"),
    ({"duration": -8}, "duration"),
    ({"duration": "8"}, "duration"),
    ({"duration": True}, "duration"),
    ({"duration": None}, "duration"),
    ({"aspectRatio": "20:9"}, "aspectRatio"),
    ({"aspectRatio": "16x9"}, "aspectRatio"),
    ({"aspectRatio": 1}, "aspectRatio"),
    ({"aspectRatio": None}, "aspectRatio"),
    ({"resolution": "720p"}, "resolution"),
    ({"aspect_ratio": "16:9"}, "aspect_ratio"),
]


@pytest.mark.parametrize(("wrong", "field"), BAD, ids=[f"{n}-{field}" for n, (_, field) in enumerate(BAD)])
def test_a_bad_field_is_named_and_nothing_is_made(
    browser: Browser, wrong: dict[str, Any], field: str
) -> None:
    response = generate(browser, REQUEST | wrong)
    assert response.status_code == 400
    error = problem(response)
    assert error["code"] == "validation_failed"
    assert [each["field"] for each in error["details"]] == [field]
    assert field in error["message"]
    assert Job.objects.count() == 0


@pytest.mark.parametrize("field", REQUEST)
def test_every_field_is_required(browser: Browser, field: str) -> None:
    response = generate(browser, {name: value for name, value in REQUEST.items() if name != field})
    assert response.status_code == 400
    assert problem(response)["message"] == f"{field}: This field is required."


def test_one_error_names_all_that_is_wrong(browser: Browser) -> None:
    for body in ({}, None, {"prompt": "", "style": "noir", "duration": 61, "aspectRatio": "2:1"}):
        error = problem(generate(browser, body))
        assert [each["field"] for each in error["details"]] == list(REQUEST)
        assert all(f"{field}: " in error["message"] for field in REQUEST)


@pytest.mark.parametrize("ratio", ["16:9", "9:16", "1:1", "4:3"])
@pytest.mark.parametrize("style", ["fun", "calm", "background"])
def test_every_shape_and_style_is_taken(browser: Browser, style: str, ratio: str) -> None:
    for duration in (1, 8, 60, 7.5):
        request = REQUEST | {"prompt": "x" * 1000, "style": style, "duration": duration, "aspectRatio": ratio}
        data = shown(browser, Job.objects.get(pk=generate(browser, request).json()["data"]["jobId"]))
        assert {name: data[name] for name in REQUEST} == request


def test_a_parameter_is_refused_by_name(browser: Browser, job: Job) -> None:
    for response in (
        browser.post(f"{URL}/generate?style=fun", REQUEST),
        browser.get(f"{URL}/{job.pk}?fields=all"),
    ):
        assert response.status_code == 400
        assert problem(response)["details"][0]["code"] == "unknown_field"
    assert Job.objects.count() == 1


def test_under_one_idempotency_key_one_video_is_made(caller: Browser) -> None:
    first, again = (generate(caller, **{"idempotency-key": "k-1"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again["Idempotent-Replayed"] == "true"
    other = generate(caller, REQUEST | {"style": "calm"}, **{"idempotency-key": "k-1"})
    assert (other.status_code, problem(other)["code"]) == (422, "idempotency_key_reused")
    assert Job.objects.count() == 1


@pytest.mark.parametrize("cookie", [None, "", "garbage"])
def test_without_a_session_it_is_401(job: Job, cookie: str | None) -> None:
    stranger = Browser()
    if cookie is not None:
        stranger.keep("takeone-access", cookie)
    for response in (generate(stranger), stranger.get(f"{URL}/{job.pk}"), stranger.get(f"{URL}/{NONE}")):
        assert response.status_code == 401
        assert problem(response)["code"] == "unauthorized"
    assert Job.objects.count() == 1


def test_another_persons_job_is_403_here_and_404_elsewhere(
    caller: Browser, make_job: Callable[..., Job]
) -> None:
    theirs = make_job("a secret", by=User.objects.create_user("grace"))
    response = caller.get(f"{URL}/{theirs.pk}")
    assert (response.status_code, problem(response)["code"]) == (403, "forbidden")
    assert "secret" not in response.content.decode()
    assert caller.get(f"/api/v1/videos/{theirs.pk}").status_code == 404


@pytest.mark.parametrize("job_id", [NONE, "abc123", "1", "%00"])
def test_no_job_is_404(caller: Browser, job_id: str) -> None:
    response = caller.get(f"{URL}/{job_id}")
    assert (response.status_code, problem(response)["code"]) == (404, "not_found")


def test_a_key_that_may_only_read_asks_for_nothing(owner: User, job: Job) -> None:
    reader = Browser(**{"x-api-key": ApiKey.issue(owner, "reader", scope=ApiKey.Scope.READ)[1]})
    assert generate(reader).status_code == 403
    assert reader.get(f"{URL}/{job.pk}").status_code == 200


def test_a_cookie_opens_the_other_face_too(browser: Browser, monkeypatch: Any, upstream: Upstream) -> None:
    configure(monkeypatch, upstream)
    response = browser.post("/api/v1/videos", {"prompt": "boat"})
    assert response.status_code == 201
    assert Job.objects.get().api_key is None
    address = response["Location"]
    assert browser.send("DELETE", address).status_code == 200
    assert browser.post(f"{address}/retry").status_code == 200


def test_every_kind_of_answer_is_as_the_schema_says(
    browser: Browser, schema: dict[str, Any], completed: Job, make_job: Callable[..., Job]
) -> None:
    one = "/api/videos/{jobId}"
    theirs = make_job(by=User.objects.create_user("grace"))
    check(schema, "post", "/api/videos/generate", generate(browser))
    check(schema, "post", "/api/videos/generate", generate(browser, {}))
    check(schema, "post", "/api/videos/generate", generate(browser, csrf=False))
    for job in (Job.objects.last(), completed, theirs):
        assert job is not None
        check(schema, "get", one, browser.get(f"{URL}/{job.pk}"))
    check(schema, "get", one, browser.get(f"{URL}/{NONE}"))
    check(schema, "get", one, Client().get(f"{URL}/{NONE}"))
    for address, body in (("login", {"username": "ada"}), ("login", {}), ("register", {})):
        wrong = Browser().post(f"/api/auth/{address}", body)
        check(schema, "post", f"/api/auth/{address}", wrong)
    check(schema, "post", "/api/auth/register", Browser().register("eve"))
    check(schema, "post", "/api/auth/login", Browser().log_in("eve"))
    check(schema, "post", "/api/auth/login", Browser().log_in("eve", "wrong"))
    check(schema, "get", "/api/auth/me", browser.get("/api/auth/me"))
    check(schema, "post", "/api/auth/refresh", browser.post("/api/auth/refresh"))
    check(schema, "post", "/api/auth/refresh", browser.post("/api/auth/refresh", csrf=False))
    assert "204" in schema["paths"]["/api/auth/logout"]["post"]["responses"]
