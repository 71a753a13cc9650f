"""OpenAI's Videos API over HTTP: who may call it, what it refuses, and repetitions that come at once."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, User
from tests.accounts.browser import PASSWORD
from tests.accounts.test_budgets import limit
from tests.from_source.making import complete
from tests.timeouts import TIMEOUT
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.models import Job

pytestmark = pytest.mark.django_db

URL = "/v1/videos"


def post(api: Client, body: Any, path: str = "", **headers: str) -> Any:
    return api.post(f"{URL}{path}", json.dumps(body), content_type="application/json", headers=headers)


def refused(response: Any, status: int, code: str | None = None) -> dict[str, Any]:
    assert response.status_code == status, response.content
    error: dict[str, Any] = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert code in {None, error["code"]}
    return error


@pytest.fixture
def job(make_job: Callable[..., Job], upstream: Upstream) -> Job:
    return complete(make_job("a paper boat", size="720x1280"), upstream)


@pytest.fixture
def bob(upstream: Upstream) -> Client:
    secret = ApiKey.issue(User.objects.create_user("bob"), "tests")[1]
    return Client(headers={"authorization": f"Bearer {secret}"})


def test_json_is_taken_as_a_form_is(api: Client) -> None:
    shown = post(api, {"prompt": "A heron", "seconds": 8, "size": "1280x720", "model": "sora-2"}).json()
    assert (shown["seconds"], shown["size"], shown["status"]) == ("8", "1280x720", "queued")
    assert api.get(f"{URL}/{shown['id']}").json() == shown


def test_a_video_is_nobody_elses(bob: Client, job: Job) -> None:
    address = f"{URL}/video_{job.pk.hex}"
    for response in (
        bob.get(address),
        bob.delete(address),
        bob.get(f"{address}/content"),
        post(bob, {"prompt": "x"}, f"/video_{job.pk.hex}/remix"),
        post(bob, {"prompt": "x", "video": {"id": f"video_{job.pk.hex}"}}, "/edits"),
        post(bob, {"prompt": "x", "seconds": "4", "video": {"id": f"video_{job.pk.hex}"}}, "/extensions"),
        bob.get(f"{URL}?after=video_{job.pk.hex}"),
    ):
        refused(response, 404, "not_found")
    assert bob.get(URL).json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
    assert Job.objects.get().removed_at is None


def test_each_retry_takes_one_of_equal_creates(api: Client) -> None:
    def ask(count: int) -> str:
        return str(post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": str(count)}).json()["id"])

    first, second = ask(0), ask(0)
    assert first != second
    assert [ask(1), ask(1), ask(2), ask(2)] == [first, second, first, second]
    # There is none left that this one could repeat.
    assert ask(1) not in {first, second}
    assert Job.objects.count() == 3


def test_nobody_elses_repetition_gets_the_answer_to_a_create(api: Client, bob: Client) -> None:
    made = post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "0"}).json()["id"]
    again = post(bob, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "1"}).json()["id"]
    assert made != again
    assert {job.owner.username for job in Job.objects.all()} == {"ada", "bob"}


def test_nobody_elses_key_of_the_account_repeats_it_either(api: Client, owner: User) -> None:
    made = post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "0"}).json()["id"]
    other = Client(headers={"x-api-key": ApiKey.issue(owner, "another")[1]})
    assert post(other, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "1"}).json()["id"] != made
    assert post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "2"}).json()["id"] == made


def test_a_key_that_only_reads_pays_and_deletes_nothing(owner: User, job: Job, upstream: Upstream) -> None:
    secret = ApiKey.issue(owner, "reads", scope=ApiKey.Scope.READ)[1]
    reader = Client(headers={"authorization": f"Bearer {secret}"})
    assert reader.get(f"{URL}/video_{job.pk.hex}").status_code == 200
    error = refused(post(reader, {"prompt": "x"}), 403, "insufficient_scope")
    assert error["type"] == "permission_error"
    refused(reader.delete(f"{URL}/video_{job.pk.hex}"), 403)
    refused(post(reader, {"prompt": "x"}, f"/video_{job.pk.hex}/remix"), 403)
    assert Job.objects.count() == 1


def test_a_session_of_a_browser_is_no_key(owner: User, job: Job, settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    owner.set_password(PASSWORD)
    owner.save()
    browser = Client()
    login = {"username": owner.username, "password": PASSWORD}
    assert (
        browser.post("/api/auth/login", json.dumps(login), content_type="application/json").status_code == 200
    )
    refused(browser.get(URL), 401)
    refused(Client().get(URL), 401, "unauthorized")


def test_what_is_not_completed_has_no_content_yet(
    api: Client, job: Job, make_job: Callable[..., Job]
) -> None:
    waiting = make_job()
    error = refused(api.get(f"{URL}/video_{waiting.pk.hex}/content"), 404)
    assert "not ready yet" in error["message"]
    Job.objects.filter(pk=job.pk).update(removed_at=job.completed_at)
    assert "no longer available" in refused(api.get(f"{URL}/video_{job.pk.hex}/content"), 404)["message"]
    refused(api.get(f"{URL}/video_{job.pk.hex}/content?variant=vtt"), 400)


def test_a_cancelled_job_is_failed_here(api: Client, make_job: Callable[..., Job]) -> None:
    waiting = make_job()
    cancel(waiting)
    shown = api.get(f"{URL}/video_{waiting.pk.hex}").json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "cancelled")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "order=up", "after=video_x", "colour=red", "after="]
)
def test_a_list_by_nonsense_is_refused(api: Client, query: str) -> None:
    assert api.get(f"{URL}?{query}").status_code in {400, 404}
    assert set(api.get(f"{URL}?{query}").json()) == {"error"}


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": 5},
        {"prompt": "x", "seconds": True},
        {"prompt": "x", "seconds": "-4"},
        {"prompt": "x", "seconds": "1e9"},
        {"prompt": "x", "size": "0x0"},
        {"prompt": "x", "size": 5},
        {"prompt": "x", "input_reference": {}},
        {"prompt": "x", "input_reference": {"file_id": "file-abc"}},
        {"prompt": "x", "input_reference": {"image_url": "a", "file_id": "b"}},
        {"prompt": "x", "input_reference[image_url]": 5},
        {"prompt": "x", "n": 2},
        [],
    ],
)
def test_bad_bodies_are_refused_and_nothing_is_made(api: Client, body: Any) -> None:
    error = refused(post(api, body), 400)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert not Job.objects.exists()


def test_a_picture_that_cannot_be_fetched_names_its_field(api: Client) -> None:
    response = post(api, {"prompt": "x", "input_reference": {"image_url": "ftp://x"}})
    assert refused(response, 422, "image_address_refused")["param"] == "input_reference"
    assert not Job.objects.exists()


def test_limits_answer_in_the_same_envelope(api: Client, owner: User, settings: Settings) -> None:
    limit(owner, "0.10")
    assert refused(post(api, {"prompt": "x"}), 402)["code"] == "budget_exceeded"
    settings.REQUEST_BODY_MAX_BYTES = 10
    refused(post(api, {"prompt": "x" * 100}), 413, "payload_too_large")
    refused(api.get("/v1/models"), 404, "not_found")
    refused(api.put(f"{URL}/video_x", "{}", content_type="application/json"), 405)
    # Other addresses have their own.
    assert "success" in api.get("/api/v1/nothing").json()


def test_deleted_videos_stay_in_our_own_lists(api: Client, job: Job) -> None:
    assert api.delete(f"{URL}/video_{job.pk.hex}").json()["deleted"] is True
    shown = api.get(f"/api/v1/videos/{job.pk}").json()["data"]
    assert shown["cost"]["settled"] == "0.40"
    assert shown["result"]["removedAt"] is not None


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_repetition_waits_for_the_create_that_it_repeats(
    secret: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compat.openai import views

    begun, goes_on = threading.Event(), threading.Event()
    create = views.create

    def slow(*args: Any, **more: Any) -> Job:
        made = create(*args, **more)
        begun.set()
        assert goes_on.wait(TIMEOUT)
        return made

    monkeypatch.setattr(views, "create", slow)
    answers: dict[str, Any] = {}

    def ask(count: str) -> None:
        client = Client(headers={"x-api-key": secret})
        answers[count] = post(client, {"prompt": "x"}, **{"X-Stainless-Retry-Count": count})
        connections.close_all()

    first = threading.Thread(target=ask, args=["0"])
    first.start()
    assert begun.wait(TIMEOUT)
    again = threading.Thread(target=ask, args=["1"])
    again.start()
    # Long enough to create a second one, if nothing held it.
    again.join(1)
    assert again.is_alive()
    goes_on.set()
    for thread in (first, again):
        thread.join(TIMEOUT)
    assert Job.objects.count() == 1
    assert answers["0"].json()["id"] == answers["1"].json()["id"]
