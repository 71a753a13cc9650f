"""What a caller may do: read, write, or manage."""

import json
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from accounts.models import ApiKey, User
from accounts.sessions import tokens
from tests.api.test_create import problem
from videos.models import Job

URL = "/api/v1/videos"


def caller(owner: User, scope: str) -> Client:
    return Client(headers={"x-api-key": ApiKey.issue(owner, scope, scope=ApiKey.Scope(scope))[1]})


def unsafe(client: Client, job: Job) -> list[Any]:
    return [
        client.post(f"{URL}/{job.pk}/sync", content_type="application/json"),
        client.delete(f"{URL}/{job.pk}"),
        client.post(f"{URL}/{job.pk}/retry", content_type="application/json"),
        client.post(URL, json.dumps({"prompt": "a boat"}), content_type="application/json"),
    ]


def test_read_looks_and_changes_nothing(api: Client, owner: User, job: Job) -> None:
    client = caller(owner, "read")
    assert client.get(URL).status_code == 200
    assert client.get(f"{URL}/{job.pk}").status_code == 200
    assert client.head(f"{URL}/{job.pk}").status_code == 200
    for response in unsafe(client, job):
        assert response.status_code == 403
        assert problem(response)["code"] == "insufficient_scope"
        assert problem(response)["details"] == {"needed": "write", "scope": "read"}
        assert "the scope write" in problem(response)["message"]
        assert response["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="write"'
    assert Job.objects.get().status == "pending"


@pytest.mark.parametrize("scope", ["write", "admin"])
def test_write_and_admin_also_ask_and_cancel(api: Client, owner: User, job: Job, scope: str) -> None:
    client = caller(owner, scope)
    assert client.get(URL).status_code == 200
    assert [response.status_code for response in unsafe(client, job)] == [200, 200, 200, 201]


@pytest.fixture
def person(api: Client, owner: User) -> Client:
    """One who is logged in, without a key."""
    client, answer = Client(), HttpResponse()
    tokens.give_cookies(answer, tokens.begin(owner))
    client.cookies.update(answer.cookies)
    return client


def test_a_session_has_all_scopes_over_its_own_account(person: Client, job: Job) -> None:
    assert [response.status_code for response in unsafe(person, job)] == [200, 200, 200, 201]
    made = person.post(
        "/api/v1/keys", json.dumps({"name": "a", "scope": "admin"}), content_type="application/json"
    )
    assert made.status_code == 201
    assert person.get(f"/api/v1/keys/{made.json()['data']['id']}").status_code == 200


def test_a_request_that_carries_a_key_is_judged_by_the_key_alone(
    person: Client, owner: User, job: Job
) -> None:
    other = User.objects.create_user("grace")
    hers = ApiKey.issue(other, "hers")[1]
    assert person.get(f"{URL}/{job.pk}").status_code == 200
    assert person.get(f"{URL}/{job.pk}", headers={"x-api-key": hers}).status_code == 404
    narrow = ApiKey.issue(owner, "narrow", scope=ApiKey.Scope.READ)[1]
    assert person.delete(f"{URL}/{job.pk}", headers={"x-api-key": narrow}).status_code == 403
    ended, revoked = ApiKey.issue(owner, "ended")
    ended.revoke()
    for wrong in (revoked, "wrong", "", hers[:30]):
        assert person.get(f"{URL}/{job.pk}", headers={"x-api-key": wrong}).status_code == 401
        assert person.get(URL, headers={"authorization": f"Bearer {wrong}"}).status_code == 401
    assert person.get(URL, headers={"authorization": revoked}).status_code == 401
