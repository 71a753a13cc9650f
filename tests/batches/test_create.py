import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, Budget, Reservation, User
from batches.lifecycle import create as creating
from batches.models import Batch
from tests.batches.conftest import MakeBatch
from tests.videos.scripted import ScriptedClient
from upstreams.registry import Upstream
from videos.models import Group, Job, JobEvent

pytestmark = pytest.mark.django_db

URL = "/api/v1/videos/batch"


def post(api: Client, body: Any, address: str = URL, **headers: str) -> Any:
    return api.post(address, body, content_type="application/json", headers=headers)


def problem(response: Any) -> Any:
    return response.json()["error"]


def three(**more: Any) -> dict[str, Any]:
    videos = [
        {"prompt": "A sunset over the ocean", "duration": 10},
        {"prompt": "A mountain landscape", "duration": 15},
        {"prompt": "City lights at night", "duration": 12},
    ]
    return {"videos": videos, "batchName": "Nature scenes", "metadata": {"createdBy": "user123"}, **more}


def test_a_batch_is_a_job_for_each_video_in_their_order(api: Client) -> None:
    answer = post(api, three())
    assert answer.status_code == 201
    data = answer.json()["data"]
    assert data["total"] == len(data["jobIds"]) == 3
    assert answer["Location"] == f"http://testserver/api/v1/batches/{data['batchId']}"
    jobs = [Job.objects.get(pk=pk) for pk in data["jobIds"]]
    assert [job.prompt for job in jobs] == [video["prompt"] for video in three()["videos"]]
    assert data["jobIds"] == sorted(data["jobIds"])
    shown = api.get(f"/api/v1/batches/{data['batchId']}").json()["data"]
    assert (shown["name"], shown["metadata"]) == ("Nature scenes", {"createdBy": "user123"})
    assert shown["jobIds"] == [job["id"] for job in shown["jobs"]] == data["jobIds"]
    assert {job["batchId"] for job in shown["jobs"]} == {data["batchId"]}
    nothing = dict.fromkeys(["completed", "failed", "cancelled", "processing", "percentage"], 0)
    assert shown["progress"] == {"total": 3, "pending": 3, **nothing}
    assert (shown["status"], shown["paused"], shown["overdue"]) == ("pending", False, False)


def test_each_job_has_its_history_and_its_reservation(api: Client) -> None:
    data = post(api, three()).json()["data"]
    # 12, 16 and 12 seconds at ten cents.
    assert data["estimatedCost"] == "4.00"
    assert data["adjusted"] == 2
    assert [event.to_state for event in JobEvent.objects.all()] == ["pending"] * 3
    held = Reservation.objects.filter(state="held").values_list("amount", flat=True)
    assert list(held) == [Decimal("1.20"), Decimal("1.60"), Decimal("1.20")]
    assert not Job.objects.filter(reservation=None).exists()


@pytest.mark.parametrize(("given", "limit"), [({}, 3), ({"concurrency": 7}, 7)])
def test_the_concurrency_is_the_callers_or_the_settings(
    api: Client, given: dict[str, int], limit: int
) -> None:
    batch_id = post(api, three(**given)).json()["data"]["batchId"]
    assert Group.objects.get(pk=batch_id).limit == limit
    assert api.get(f"/api/v1/batches/{batch_id}").json()["data"]["concurrency"] == limit


def test_defaults_hold_for_each_video_that_does_not_say_otherwise(api: Client) -> None:
    body = {
        "videos": [{"prompt": "one"}, {"prompt": "two", "duration": 4, "priority": "low"}, {"seed": 1}],
        "defaults": {"duration": 8, "priority": "high", "prompt": "three", "metadata": {"a": 1}},
    }
    data = post(api, body).json()["data"]
    jobs = [Job.objects.get(pk=pk) for pk in data["jobIds"]]
    assert [(job.prompt, job.duration, job.priority) for job in jobs] == [
        ("one", 8, 2),
        ("two", 4, 0),
        ("three", 8, 2),
    ]
    assert jobs[0].metadata == {"a": 1}


def test_a_bad_default_is_named_as_such(api: Client) -> None:
    answer = post(api, three(defaults={"duration": 99}))
    assert answer.status_code == 400
    assert problem(answer)["details"][0]["field"] == "defaults.duration"


@pytest.mark.parametrize(
    ("videos", "field"),
    [
        ([], "videos"),
        ([{"prompt": "boat"}] * 11, "videos"),
        ("boat", "videos"),
        (None, "videos"),
        ([{"prompt": "boat"}, "boat"], "videos[1]"),
        ([{"prompt": "boat"}, {"prompt": "boat", "duration": 61}], "videos[1].duration"),
        ([{"prompt": "boat"}, {"prompt": ""}], "videos[1].prompt"),
        ([{"prompt": "boat", "ref": "a"}, {"prompt": "boat", "ref": "a"}], "videos[1].ref"),
        ([{"prompt": "boat", "ref": "a"}, {"prompt": "boat", "ref": " a "}], "videos[1].ref"),
        ([{"prompt": "boat", "color": "red"}], "videos[0].color"),
        ([{"prompt": "boat", "fit": "strict", "duration": 5}], "videos[0].duration"),
    ],
)
def test_one_bad_of_many_is_named_and_nothing_is_accepted(api: Client, videos: Any, field: str) -> None:
    answer = post(api, {"videos": videos})
    assert (answer.status_code, problem(answer)["code"]) == (400, "validation_failed")
    assert problem(answer)["details"][0]["field"] == field
    assert not Job.objects.exists()
    assert not Batch.objects.exists()
    assert not Group.objects.exists()
    assert not Reservation.objects.exists()


def test_all_bad_ones_are_named(api: Client) -> None:
    videos = [
        {"prompt": "boat", "duration": 0},
        {"prompt": "boat"},
        {"prompt": 1},
        {},
        {"prompt": "b", "fps": 1},
    ]
    details = problem(post(api, {"videos": videos}))["details"]
    assert [each["field"] for each in details] == [
        "videos[0].duration",
        "videos[2].prompt",
        "videos[3].prompt",
        "videos[4].fps",
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "videos"),
        (three(concurrency=0), "concurrency"),
        (three(concurrency="3"), "concurrency"),
        (three(metadata=[]), "metadata"),
        (three(batchName=1), "batchName"),
        (three(name="x"), "name"),
        (three(defaults=[]), "defaults"),
    ],
)
def test_what_a_batch_does_not_take_is_refused_by_name(api: Client, body: Any, field: str) -> None:
    answer = post(api, body)
    assert answer.status_code == 400
    assert problem(answer)["details"][0]["field"] == field


def test_the_same_key_makes_one_batch(api: Client, sora: ScriptedClient) -> None:
    first, again = (post(api, three(), **{"Idempotency-Key": "one"}) for _ in range(2))
    assert first.json() == again.json()
    assert again["Idempotent-Replayed"] == "true"
    assert again["Location"] == first["Location"]
    assert (Batch.objects.count(), Job.objects.count()) == (1, 3)
    assert post(api, three(concurrency=1), **{"Idempotency-Key": "one"}).status_code == 422


def test_a_batch_that_does_not_fit_a_budget_leaves_nothing(api: Client, owner: User) -> None:
    Budget.objects.create(owner=owner, period="day", limit="3.99")
    answer = post(api, three())
    assert (answer.status_code, problem(answer)["code"]) == (402, "budget_exceeded")
    assert problem(answer)["details"]["price"] == "4.00"
    assert not Batch.objects.exists()
    Budget.objects.update(limit="4.00")
    assert post(api, three()).status_code == 201
    assert post(api, {"videos": [{"prompt": "boat"}]}).status_code == 402


def test_a_batch_finds_room_for_all_its_jobs(api: Client, settings: Settings) -> None:
    settings.MAX_QUEUED_JOBS = 2
    assert problem(post(api, three()))["code"] == "queue_full"
    assert not Job.objects.exists()
    assert not Reservation.objects.exists()
    settings.MAX_QUEUED_JOBS = 3
    assert post(api, three()).status_code == 201


def test_a_crash_on_the_way_leaves_nothing(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = []
    accept_all = creating.accept_all

    def accept(*args: Any, **kwargs: Any) -> Any:
        if accepted:
            raise SystemExit
        accepted.append(accept_all(*args, **kwargs))
        return accepted[0]

    monkeypatch.setattr(creating, "_TOGETHER", 2)
    monkeypatch.setattr(creating, "accept_all", accept)
    with pytest.raises(SystemExit):
        post(api, three())
    assert accepted
    for rows in (Job, Batch, Group, Reservation, JobEvent):
        assert not rows._default_manager.exists()


def test_an_estimate_says_what_a_create_would_cost_and_creates_nothing(api: Client, owner: User) -> None:
    Budget.objects.create(owner=owner, period="day", limit="5")
    body = three()
    body["videos"][0]["ref"] = "sunset"
    answer = post(api, body, f"{URL}/estimate")
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert (data["total"], data["adjusted"], data["unpriced"]) == (3, 2, 0)
    assert data["estimatedCost"] == post(api, body).json()["data"]["estimatedCost"] == "4.00"
    assert data["items"][0]["ref"] == "sunset"
    assert data["items"][0]["submitted"] == {"model": "sora-2", "seconds": "12", "size": "1280x720"}
    assert data["items"][0]["adjustments"][0]["field"] == "duration"
    assert data["budgets"][0]["left"] == "5.00"
    assert Batch.objects.count() == 1


def test_an_estimate_names_bad_items_as_a_create_does(api: Client) -> None:
    body = {"videos": [{"prompt": "boat", "duration": 61}]}
    assert (
        post(api, body, f"{URL}/estimate").json()["error"]["details"] == problem(post(api, body))["details"]
    )


def test_lists_show_ones_own_batches_newest_first(api: Client, make_batch: MakeBatch) -> None:
    first, second = make_batch(1), make_batch(2)
    make_batch(1, by=User.objects.create_user("bob"))
    answer = api.get("/api/v1/batches", {"limit": 1}).json()
    assert [batch["id"] for batch in answer["data"]] == [str(second.pk)]
    assert answer["pagination"]["total"] == 2
    assert "jobs" not in answer["data"][0]
    rest = api.get("/api/v1/batches", {"cursor": answer["pagination"]["nextCursor"]}).json()
    assert [batch["id"] for batch in rest["data"]] == [str(first.pk)]


def test_a_list_costs_the_same_queries_however_many_batches_there_are(
    api: Client, make_batch: MakeBatch, django_assert_max_num_queries: Any
) -> None:
    for _ in range(5):
        make_batch(3)
    with django_assert_max_num_queries(6):
        assert len(api.get("/api/v1/batches").json()["data"]) == 5


def test_a_batchs_jobs_are_paged_in_the_order_of_its_items(api: Client, make_batch: MakeBatch) -> None:
    batch = make_batch(5)
    address = f"/api/v1/batches/{batch.pk}/jobs"
    prompts, cursor = [], None
    for _ in range(3):
        page = api.get(address, {"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        prompts += [job["prompt"] for job in page["data"]]
        cursor = page["pagination"]["nextCursor"]
    assert prompts == [f"boat {number}" for number in range(1, 6)]
    assert cursor is None
    Job.objects.filter(prompt="boat 3").update(status="cancelled")
    assert [job["prompt"] for job in api.get(address, {"status": "cancelled"}).json()["data"]] == ["boat 3"]
    listed = api.get("/api/v1/videos", {"batchId": str(batch.pk)}).json()
    assert len(listed["data"]) == 5
    assert not api.get("/api/v1/videos", {"batchId": str(make_batch(1).pk), "status": "failed"}).json()[
        "data"
    ]


def test_a_ref_is_the_callers_and_is_shown(api: Client) -> None:
    data = post(api, {"videos": [{"prompt": "boat", "ref": "scene 1/2"}]}).json()["data"]
    assert api.get(f"/api/v1/videos/{data['jobIds'][0]}").json()["data"]["ref"] == "scene 1/2"
    # Another batch may use it again.
    assert post(api, {"videos": [{"prompt": "boat", "ref": "scene 1/2"}]}).status_code == 201


def test_a_large_batch_shows_its_first_jobs(api: Client, make_batch: MakeBatch, settings: Settings) -> None:
    settings.BATCH_MAX_SIZE = 150
    batch = make_batch(150)
    shown = api.get(f"/api/v1/batches/{batch.pk}").json()["data"]
    assert len(shown["jobs"]) == len(shown["jobIds"]) == 100
    assert shown["progress"]["total"] == 150
    assert json.dumps(shown["jobs"]).count('"boat 101"') == 0


def test_a_batch_keeps_the_key_that_asked(api: Client, owner: User, upstream: Upstream) -> None:
    post(api, three())
    key = ApiKey.objects.get(owner=owner)
    assert set(Job.objects.values_list("api_key", flat=True)) == {key.pk}
    assert Batch.objects.get().api_key_id == key.pk
