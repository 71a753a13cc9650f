"""Remix, edit and extend over REST."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.configured import configure
from tests.from_source.making import complete, listed
from tests.videos.scripted import ScriptedClient
from upstreams.registry import Upstream
from videos.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(make_job: Callable[..., Job], upstream: Upstream) -> Job:
    return complete(make_job("a paper boat", duration=8), upstream)


def post(api: Client, job: Job, operation: str, body: Any, **more: Any) -> Any:
    address = f"/api/v1/videos/{job.pk}/{operation}"
    return api.post(address, json.dumps(body), content_type="application/json", **more)


@pytest.mark.parametrize(
    ("operation", "more", "duration"),
    [("remix", {}, None), ("edit", {}, None), ("extend", {"duration": 4}, 4.0)],
)
def test_a_video_is_made_from_another_one(
    api: Client, source: Job, upstream: Upstream, operation: str, more: dict[str, Any], duration: float | None
) -> None:
    body = {"prompt": " by night ", "priority": "high", "metadata": {"a": 1}, "retainFor": 86_400, **more}
    response = post(api, source, operation, body)
    assert response.status_code == 201
    made = Job.objects.exclude(pk=source.pk).get()
    assert response["Location"] == f"http://testserver/api/v1/videos/{made.pk}"
    assert response.json()["data"] == {
        "jobId": str(made.pk),
        "status": "pending",
        "message": "The video is queued.",
        "adjustments": [],
        "estimatedCost": None,
    }
    complete(made, upstream)
    shown = api.get(response["Location"]).json()["data"]
    assert {name: shown[name] for name in ("operation", "sourceJobId", "prompt", "priority", "metadata")} == {
        "operation": operation,
        "sourceJobId": str(source.pk),
        "prompt": "by night",
        "priority": "high",
        "metadata": {"a": 1},
    }
    assert (shown["status"], shown["retainFor"], shown["duration"]) == ("completed", 86_400, duration)
    listed = api.get("/api/v1/videos").json()["data"][0]
    assert (listed["operation"], listed["sourceJobId"]) == (operation, str(source.pk))


def test_a_video_that_is_made_anew_has_no_source(api: Client, source: Job) -> None:
    shown = api.get(f"/api/v1/videos/{source.pk}").json()["data"]
    assert (shown["operation"], shown["sourceJobId"]) == ("create", None)


def test_the_length_of_an_extension_is_compared_with_the_whole(
    api: Client, source: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    made = Job.objects.get(pk=post(api, source, "extend", {"prompt": "on"}).json()["data"]["jobId"])
    complete(made, upstream)
    shown = api.get(f"/api/v1/videos/{made.pk}").json()["data"]
    assert shown["submitted"]["seconds"] == "4"
    # The file of the scripted upstream has one second.
    assert {"field": "duration", "submitted": 12.0, "found": 1.0} in shown["result"]["differences"]


@pytest.mark.parametrize(
    ("operation", "body", "field"),
    [
        ("remix", {}, "prompt"),
        ("edit", {"prompt": " "}, "prompt"),
        ("edit", {"prompt": "x" * 2001}, "prompt"),
        ("remix", {"prompt": "x", "model": "sora-2-pro"}, "model"),
        ("remix", {"prompt": "x", "duration": 4}, "duration"),
        ("extend", {"prompt": "x", "duration": 0}, "duration"),
        ("extend", {"prompt": "x", "resolution": "720p"}, "resolution"),
        ("extend", {"prompt": "x", "duration": 5, "fit": "strict"}, "duration"),
        ("extend", {"prompt": "x", "retainFor": -1}, "retainFor"),
    ],
)
def test_what_would_be_ignored_or_is_wrong_is_refused(
    api: Client, source: Job, operation: str, body: dict[str, Any], field: str
) -> None:
    response = post(api, source, operation, body)
    assert response.status_code == 400
    assert [each["field"] for each in response.json()["error"]["details"]] == [field]
    assert Job.objects.count() == 1


def test_a_form_is_refused(api: Client, source: Job) -> None:
    assert api.post(f"/api/v1/videos/{source.pk}/remix", {"prompt": "x"}).status_code == 415


def test_what_has_no_video_yet_is_refused(api: Client, make_job: Callable[..., Job]) -> None:
    waiting = make_job()
    error = post(api, waiting, "remix", {"prompt": "x"}).json()["error"]
    assert (error["code"], error["details"]["status"]) == ("job_not_completed", "pending")


def test_the_same_key_makes_one_job(api: Client, source: Job) -> None:
    first = post(api, source, "remix", {"prompt": "x"}, HTTP_IDEMPOTENCY_KEY="one")
    again = post(api, source, "remix", {"prompt": "x"}, HTTP_IDEMPOTENCY_KEY="one")
    assert again.json() == first.json()
    assert (again["Idempotent-Replayed"], again["Location"]) == ("true", first["Location"])
    # The operation is a part of the request.
    assert post(api, source, "edit", {"prompt": "x"}, HTTP_IDEMPOTENCY_KEY="one").status_code == 422
    assert Job.objects.count() == 2


def test_models_say_what_may_be_made_from_their_videos(
    api: Client, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown() -> tuple[list[str], dict[str, str]]:
        offer = api.get("/api/v1/models").json()["data"]["models"][0]["offers"][0]
        return offer["operations"], offer["pricePerSecondOfOperation"]

    assert shown() == (["edit", "extend", "remix"], {})
    configure(monkeypatch, listed(upstream, "0.25"))
    assert shown()[1] == {"any": "0.25"}
