import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models import F
from django.test import Client
from django.utils import timezone

from accounts import tasks
from accounts.idempotency import forget_some
from accounts.models import ApiKey, Budget, IdempotencyKey, User
from tests.api.test_create import problem
from tests.timeouts import TIMEOUT
from upstreams.offer.request import VideoRequest
from videos.lifecycle.create import create
from videos.models import Job

URL = "/api/v1/videos"
BOAT = {"prompt": "boat", "metadata": {"a": 1, "b": 2}}


def post(api: Client, body: Any = BOAT, key: str = "k-1", address: str = URL) -> Any:
    raw = body if isinstance(body, str) else json.dumps(body)
    return api.post(address, raw, content_type="application/json", headers={"idempotency-key": key})


@pytest.mark.django_db
def test_the_same_request_under_the_same_key_is_carried_out_once(api: Client) -> None:
    first, again = post(api), post(api)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first["Location"] == again["Location"]
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert Job.objects.count() == 1


@pytest.mark.django_db
def test_spacing_order_of_fields_and_quotes_do_not_matter(api: Client) -> None:
    post(api, '{"prompt": "boat", "metadata": {"a": 1, "b": 2}}', key="k-1")
    again = post(api, '{ "metadata": {"b":2, "a":1},\n "prompt":"boat" }', key='"k-1"')
    assert again["Idempotent-Replayed"] == "true"
    assert Job.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("body", [{"prompt": "kite"}, BOAT | {"seed": 1}, {}])
def test_another_body_under_the_same_key_is_422(api: Client, body: Any) -> None:
    post(api)
    other = post(api, body)
    assert other.status_code == 422
    assert problem(other)["code"] == "idempotency_key_reused"
    assert Job.objects.count() == 1


@pytest.mark.django_db
def test_another_operation_under_the_same_key_is_422(api: Client, job: Job) -> None:
    Job.objects.update(status="cancelled")
    assert post(api, {}, address=f"{URL}/{job.pk}/retry").status_code == 200
    assert post(api, {}).status_code == 422


@pytest.mark.django_db
def test_a_retry_is_carried_out_once(api: Client, job: Job) -> None:
    Job.objects.update(status="cancelled")
    first = post(api, {}, address=f"{URL}/{job.pk}/retry")
    again = post(api, {}, address=f"{URL}/{job.pk}/retry")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert again["Idempotent-Replayed"] == "true"
    assert job.events.filter(to_state="pending", from_state="cancelled").count() == 1


@pytest.mark.django_db
def test_a_refused_request_leaves_its_key_free(api: Client) -> None:
    assert post(api, {"prompt": ""}).status_code == 400
    assert IdempotencyKey.objects.count() == 0
    assert post(api).status_code == 201


@pytest.mark.django_db
def test_keys_belong_to_their_owner(api: Client) -> None:
    other = Client(headers={"x-api-key": ApiKey.issue(User.objects.create_user("grace"), "tests")[1]})
    post(api)
    theirs = post(other)
    assert theirs.status_code == 201
    assert "Idempotent-Replayed" not in theirs
    assert Job.objects.count() == 2


@pytest.mark.django_db
def test_another_key_of_the_same_owner_gets_the_same_answer(api: Client, owner: User) -> None:
    second = Client(headers={"x-api-key": ApiKey.issue(owner, "second")[1]})
    post(api)
    assert post(second)["Idempotent-Replayed"] == "true"


@pytest.mark.django_db
def test_a_key_is_forgotten_after_24_hours(api: Client) -> None:
    post(api)
    IdempotencyKey.objects.update(created_at=F("created_at") - timedelta(hours=23, minutes=59))
    assert post(api)["Idempotent-Replayed"] == "true"
    IdempotencyKey.objects.update(created_at=F("created_at") - timedelta(minutes=2))
    anew = post(api)
    assert anew.status_code == 201
    assert "Idempotent-Replayed" not in anew
    assert (Job.objects.count(), IdempotencyKey.objects.count()) == (2, 1)


@pytest.mark.django_db
def test_expired_keys_are_deleted_by_a_worker(
    api: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.idempotency._FORGOTTEN_AT_ONCE", 2)
    long_ago = timezone.now() - timedelta(hours=25)
    IdempotencyKey.objects.bulk_create(
        IdempotencyKey(owner=owner, key=f"old-{number}", created_at=long_ago) for number in range(5)
    )
    post(api, key="new")
    assert forget_some() == 2
    tasks.forget()
    assert [kept.key for kept in IdempotencyKey.objects.all()] == ["new"]


@pytest.mark.django_db
def test_an_expired_key_is_used_again(api: Client, owner: User) -> None:
    long_ago = timezone.now() - timedelta(hours=25)
    IdempotencyKey.objects.create(owner=owner, key="old", created_at=long_ago)
    assert post(api, key="old").status_code == 201
    assert post(api, key="old")["Idempotent-Replayed"] == "true"
    assert Job.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", " ", '""', "a b", "x" * 256, "ü", "a\tb"])
def test_an_unusable_key_is_refused_and_nothing_is_made(api: Client, key: str) -> None:
    response = post(api, key=key)
    assert response.status_code == 400
    assert problem(response)["code"] == "idempotency_key_unusable"
    assert Job.objects.count() == 0


@pytest.mark.django_db
def test_a_collision_that_is_none_of_the_keys_is_not_hidden(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def collides(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise IntegrityError("another constraint")

    monkeypatch.setattr("videos.api.views.create", collides)
    with pytest.raises(IntegrityError, match="another constraint"):
        post(api)
    assert len(calls) == 1
    assert IdempotencyKey.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_crash_after_the_job_was_made_leaves_neither_job_nor_key(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashes(*given: Any, **named: Any) -> None:
        create(*given, **named)
        raise ZeroDivisionError("power cut")

    monkeypatch.setattr("videos.api.views.create", crashes)
    with pytest.raises(ZeroDivisionError):
        post(api)
    assert (Job.objects.count(), IdempotencyKey.objects.count()) == (0, 0)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first_fails", [False, True])
def test_of_a_request_and_its_twin_one_is_carried_out(
    api: Client, secret: str, monkeypatch: pytest.MonkeyPatch, first_fails: bool
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def slow(*given: Any, **named: Any) -> Job:
        calls.append(1)
        if len(calls) > 1:
            return create(*given, **named)
        job = create(*given, **named)
        begun.set()
        assert go_on.wait(TIMEOUT)
        if first_fails:
            raise ZeroDivisionError("power cut")
        return job

    def send() -> Any:
        caller = Client(headers={"x-api-key": secret}, raise_request_exception=False)
        try:
            return post(caller)
        finally:
            connection.close()

    monkeypatch.setattr("videos.api.views.create", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(send)
        assert begun.wait(TIMEOUT)
        # It does not wait for the first, whose work is rolled back in its turn.
        twin = pool.submit(send).result(TIMEOUT)
        go_on.set()
        late = first.result(TIMEOUT)
    assert Job.objects.count() == 1
    assert len(calls) == 2
    assert twin.status_code == 201
    assert "Idempotent-Replayed" not in twin
    if first_fails:
        assert late.status_code == 500
    else:
        assert late.status_code == 201
        assert late.json() == twin.json()
        assert late["Idempotent-Replayed"] == "true"


def waits_for_a_lock() -> bool:
    """Whether anybody in this database does. Not within a transaction, which sees what it saw first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_twin_that_fails_at_what_the_first_has_done_gets_its_answer(
    api: Client, secret: str, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first spends all of a budget, so that the twin is refused."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(*given: Any, **named: Any) -> Job:
        job = create(*given, **named)
        begun.set()
        assert go_on.wait(TIMEOUT)
        return job

    def send() -> Any:
        try:
            return post(Client(headers={"x-api-key": secret}))
        finally:
            connection.close()

    price = create(VideoRequest(prompt="boat"), owner=owner, api_key=None).estimated_cost
    assert price is not None
    Budget.objects.create(owner=owner, period="day", limit=2 * price)
    monkeypatch.setattr("videos.api.views.create", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(send)
        assert begun.wait(TIMEOUT)
        twin = pool.submit(send)
        while not waits_for_a_lock():
            assert not twin.done()
        go_on.set()
        answers = [first.result(TIMEOUT), twin.result(TIMEOUT)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert post(api, key="another").status_code == 402
    assert Job.objects.count() == 2


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_many_twins_at_once_one_is_carried_out(api: Client, secret: str) -> None:
    barrier = threading.Barrier(8)

    def send(number: int) -> Any:
        barrier.wait()
        try:
            return post(Client(headers={"x-api-key": secret}))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["data"]["jobId"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer for answer in answers) == 1
    assert Job.objects.count() == 1
