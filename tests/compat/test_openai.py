"""OpenAI's Videos API over HTTP: who may call it, what it refuses, and repetitions that come at once."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connections
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, IdempotencyKey, User
from compat.openai import views
from tests.accounts.browser import PASSWORD
from tests.accounts.test_budgets import limit
from tests.from_source.making import complete
from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from upstreams.clock import database_now, shifted
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission

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
    # The newest first: the older one may have been answered long ago.
    assert [ask(1), ask(1), ask(2), ask(2)] == [second, first, second, first]
    # There is none left that this one could repeat.
    assert ask(1) not in {first, second}
    assert Job.objects.count() == 3


def test_a_retry_that_overtakes_its_first_try_makes_one_job(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[str] = []
    request_of = views.request_of

    def slow(*given: Any) -> Any:
        # While the first try is prepared, the retry comes and is carried out.
        if not prepared:
            prepared.append("")
            prepared[0] = post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "1"}).json()["id"]
        return request_of(*given)

    monkeypatch.setattr(views, "request_of", slow)
    late = post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "0"}).json()["id"]
    assert [late] == prepared
    assert Job.objects.count() == 1
    # A later create is one of its own.
    assert post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "0"}).json()["id"] != late


def test_the_third_try_of_an_sdk_comes_after_twenty_minutes(api: Client) -> None:
    made = post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "0"}).json()["id"]
    with shifted(timedelta(seconds=1_201 + 240)):
        assert post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "2"}).json()["id"] == made
    with shifted(timedelta(minutes=31)):
        assert post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "3"}).json()["id"] != made


def test_what_is_refused_for_certain_is_not_to_be_sent_again(
    api: Client, owner: User, settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAX_QUEUED_JOBS = 1
    assert post(api, {"prompt": "x"}).status_code == 200
    full = post(api, {"prompt": "x"})
    assert (full.status_code, full["x-should-retry"]) == (429, "false")
    assert post(api, {"prompt": "x", "size": "1x1"})["x-should-retry"] == "false"
    assert post(api, {"prompt": "x"}, "/video_0/remix")["x-should-retry"] == "false"

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(views, "create", away)
    settings.MAX_QUEUED_JOBS = 0
    unknown = post(api, {"prompt": "y"})
    # Whether that one was carried out is not known, so its retry has to be recognised.
    assert unknown.status_code == 503
    assert "x-should-retry" not in unknown


def test_a_callers_own_key_is_none_of_a_retry(api: Client) -> None:
    digest = IdempotencyKey.objects
    made = post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "0"}).json()["id"]
    ours = digest.get().key
    assert post(api, {"prompt": "x"}, **{"Idempotency-Key": ours.replace(" ", "")}).status_code == 200
    assert post(api, {"prompt": "x"}, **{"X-Stainless-Retry-Count": "1"}).json()["id"] == made
    refused(post(api, {"prompt": "x"}, **{"Idempotency-Key": ours}), 400, "idempotency_key_unusable")


def test_what_was_retried_meanwhile_is_not_deleted(
    api: Client, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    Job.objects.filter(pk=job.pk).update(status="failed", error_code="x")
    lock = Job.lock

    def retried(**lookup: Any) -> Job:
        Job.objects.filter(pk=job.pk).update(status="pending")
        return lock(**lookup)

    monkeypatch.setattr(Job, "lock", retried)
    refused(api.delete(f"{URL}/video_{job.pk.hex}"), 400, "job_not_completed")
    assert Job.objects.get().deleted_at is None


def test_a_retry_brings_back_what_was_deleted(
    api: Client, owner: User, make_job: Callable[..., Job], upstream: Upstream
) -> None:
    failed = make_job()
    cancel(failed)
    address = f"{URL}/video_{failed.pk.hex}"
    assert api.delete(address).status_code == 200
    refused(api.get(address), 404)
    assert api.post(f"/api/v1/videos/{failed.pk}/retry").status_code == 200
    assert api.get(address).json()["status"] == "queued"


def test_a_batch_retries_nothing_that_was_deleted(api: Client, owner: User) -> None:
    accepted = api.post(
        "/api/v1/videos/batch",
        json.dumps({"videos": [{"prompt": "a"}, {"prompt": "b"}]}),
        content_type="application/json",
    ).json()["data"]
    Job.objects.update(status="failed", error_code="x")
    kept, gone = (UUID(each) for each in accepted["jobIds"])
    assert api.delete(f"{URL}/video_{gone.hex}").status_code == 200
    again = api.post(f"/api/v1/batches/{accepted['batchId']}/retry", content_type="application/json")
    assert again.status_code == 200, again.content
    assert dict(Job.objects.values_list("pk", "status")) == {kept: "pending", gone: "failed"}


def test_a_late_success_of_what_was_deleted_is_not_kept(
    api: Client, make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    late = make_job()
    submit_next(upstream)
    Submission.objects.update(state="given_up", cost_state="settled", due_at=database_now())
    Job.objects.update(status="failed", error_code="gave_up")
    assert api.delete(f"{URL}/video_{late.pk.hex}").status_code == 200
    sora.complete(next(iter(sora.videos)))
    sweep(upstream)
    assert only(late).state == "given_up"
    assert Job.objects.get().status == "failed"


def test_a_list_goes_on_behind_a_video_that_was_deleted(api: Client, make_job: Callable[..., Job]) -> None:
    for _ in range(4):
        cancel(make_job())
    seen, after = [], ""
    while True:
        page = api.get(f"{URL}?limit=1{after}").json()
        seen += [video["id"] for video in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
        assert api.delete(f"{URL}/{page['last_id']}").status_code == 200
    assert len(set(seen)) == 4


def test_what_failed_never_has_content(api: Client, make_job: Callable[..., Job]) -> None:
    waiting = make_job()
    cancel(waiting)
    assert "has no content" in refused(api.get(f"{URL}/video_{waiting.pk.hex}/content"), 404)["message"]


def test_parameters_that_a_call_would_ignore_are_refused(api: Client) -> None:
    refused(post(api, {"prompt": "x"}, "?seed=1"), 400)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"input_reference": {}}, "either image_url or file_id"),
        ({"input_reference": {"file_id": "https://x.example/a.png"}}, "file_id the id of a picture"),
        ({"input_reference": "a.png"}, "image_url or file_id"),
    ],
)
def test_a_nested_problem_says_what_to_do(api: Client, body: dict[str, Any], says: str) -> None:
    error = refused(post(api, {"prompt": "x", **body}), 400)
    assert says in error["message"]
    assert error["param"].startswith("input_reference")


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
