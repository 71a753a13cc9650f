"""API keys over REST: made, listed, renamed, revoked by their owner."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.keys import key_format
from accounts.models import ApiKey, User
from tests.api.test_create import problem
from tests.api.test_schema import check, schema

URL = "/api/v1/keys"

__all__ = ["schema"]


def caller(owner: User, scope: str = "admin") -> Client:
    return Client(headers={"x-api-key": ApiKey.issue(owner, scope, scope=ApiKey.Scope(scope))[1]})


@pytest.fixture
def admin(owner: User) -> Client:
    return caller(owner)


def post(client: Client, body: Any) -> Any:
    return client.post(URL, json.dumps(body), content_type="application/json")


def patch(client: Client, pk: object, body: Any) -> Any:
    return client.patch(f"{URL}/{pk}", json.dumps(body), content_type="application/json")


def test_a_key_is_made_and_works(admin: Client, owner: User) -> None:
    response = post(admin, {"name": " render farm ", "scope": "read"})
    assert response.status_code == 201
    data = response.json()["data"]
    assert response["Location"] == f"http://testserver{URL}/{data['id']}"
    assert response["Cache-Control"] == "no-store"
    key = ApiKey.objects.get(pk=data["id"])
    assert key.owner == owner
    assert data == {
        "id": key.pk,
        "name": "render farm",
        "prefix": data["secret"][:12],
        "scope": "read",
        "status": "active",
        "createdAt": key.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "expiresAt": None,
        "revokedAt": None,
        "lastUsedAt": None,
        "retainFor": None,
        "secret": data["secret"],
    }
    assert key_format.is_well_formed(data["secret"])
    assert Client(headers={"x-api-key": data["secret"]}).get("/api/v1/videos").status_code == 200


def test_the_secret_is_shown_once(admin: Client) -> None:
    made = post(admin, {"name": "first", "scope": "write"}).json()["data"]
    secret = made.pop("secret")
    shown = [
        admin.get(f"{URL}/{made['id']}"),
        admin.get(URL),
        patch(admin, made["id"], {"name": "other"}),
        admin.delete(f"{URL}/{made['id']}"),
    ]
    for response in shown:
        assert response.status_code == 200
        assert secret[12:] not in response.content.decode()
        assert "digest" not in response.content.decode()


def test_a_key_ends_after_so_many_days_or_at_a_time(admin: Client) -> None:
    before = timezone.now()
    made = post(admin, {"name": "first", "scope": "read", "expiresInDays": 90}).json()["data"]
    ends = ApiKey.objects.get(pk=made["id"]).expires_at
    assert ends is not None
    assert timedelta(0) <= ends - before - timedelta(days=90) < timedelta(minutes=1)
    at = "2199-01-01T00:00:00+01:00"
    made = post(admin, {"name": "first", "scope": "read", "expiresAt": at}).json()["data"]
    assert made["expiresAt"] == "2198-12-31T23:00:00.000Z"


BAD: list[tuple[Any, str]] = [
    ({"name": "a"}, "scope"),
    ({"scope": "read"}, "name"),
    ({"name": "", "scope": "read"}, "name"),
    ({"name": "  ", "scope": "read"}, "name"),
    ({"name": "x" * 101, "scope": "read"}, "name"),
    ({"name": 1, "scope": "read"}, "name"),
    ({"name": None, "scope": "read"}, "name"),
    ({"name": "a\nb", "scope": "read"}, "name"),
    ({"name": "a\x1b[2Jb", "scope": "read"}, "name"),
    ({"name": "a", "scope": "root"}, "scope"),
    ({"name": "a", "scope": "Read"}, "scope"),
    ({"name": "a", "scope": ["read"]}, "scope"),
    ({"name": "a", "scope": None}, "scope"),
    ({"name": "a", "scope": "read", "expiresInDays": 0}, "expiresInDays"),
    ({"name": "a", "scope": "read", "retainFor": 59}, "retainFor"),
    ({"name": "a", "scope": "read", "retainFor": 315_360_001}, "retainFor"),
    ({"name": "a", "scope": "read", "retainFor": "60"}, "retainFor"),
    ({"name": "a", "scope": "read", "expiresInDays": 3651}, "expiresInDays"),
    ({"name": "a", "scope": "read", "expiresInDays": 1.5}, "expiresInDays"),
    ({"name": "a", "scope": "read", "expiresInDays": "90"}, "expiresInDays"),
    ({"name": "a", "scope": "read", "expiresInDays": True}, "expiresInDays"),
    ({"name": "a", "scope": "read", "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
    ({"name": "a", "scope": "read", "expiresAt": "9999-12-31T23:59:59-14:00"}, "expiresAt"),
    ({"name": "a", "scope": "read", "expiresAt": "2199-13-01T00:00:00Z"}, "expiresAt"),
    ({"name": "a", "scope": "read", "expiresAt": 4102444800}, "expiresAt"),
    ({"name": "a", "scope": "read", "expiresAt": None}, "expiresAt"),
    ({"name": "a", "scope": "read", "expiresInDays": 1, "expiresAt": "2199-01-01T00:00:00Z"}, "expiresAt"),
    ({"name": "a", "scope": "read", "secret": "mine"}, "secret"),
    ({"name": "a", "scope": "read", "owner": 1}, "owner"),
    ({"name": "a", "scope": "read", "scopes": ["admin"]}, "scopes"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
def test_a_wrong_request_makes_no_key(admin: Client, body: Any, field: str) -> None:
    response = post(admin, body)
    assert response.status_code == 400
    assert [each["field"] for each in problem(response)["details"]] == [field]
    assert ApiKey.objects.count() == 1


def test_keys_are_listed_newest_first_by_page(admin: Client, owner: User) -> None:
    made = [ApiKey.issue(owner, f"key {number}")[0].pk for number in range(4)][::-1]
    first = admin.get(URL, {"limit": 2}).json()
    assert [key["id"] for key in first["data"]] == made[:2]
    assert first["pagination"] == {"page": 1, "limit": 2, "total": 5, "totalPages": 3, "hasMore": True}
    last = admin.get(URL, {"limit": 2, "page": 3}).json()
    assert [key["name"] for key in last["data"]] == ["admin"]
    assert last["pagination"]["hasMore"] is False
    assert admin.get(URL, {"page": 10_000}).json()["data"] == []


@pytest.mark.parametrize("query", ["page=0", "page=10001", "limit=0", "limit=101", "limit=x", "owner=1"])
def test_a_wrong_page_is_refused(admin: Client, query: str) -> None:
    assert admin.get(f"{URL}?{query}").status_code == 400


def test_the_status_says_what_has_become_of_a_key(admin: Client, owner: User) -> None:
    ApiKey.issue(owner, "expired", expires_at=timezone.now())
    revoked, _ = ApiKey.issue(owner, "revoked")
    revoked.revoke()
    statuses = {key["name"]: key["status"] for key in admin.get(URL).json()["data"]}
    assert statuses == {"admin": "active", "expired": "expired", "revoked": "revoked"}


def test_a_key_is_revoked_at_once_and_stays(admin: Client) -> None:
    made = post(admin, {"name": "first", "scope": "write"}).json()["data"]
    client = Client(headers={"x-api-key": made["secret"]})
    assert client.get("/api/v1/videos").status_code == 200
    first = admin.delete(f"{URL}/{made['id']}").json()["data"]
    assert first["status"] == "revoked"
    assert client.get("/api/v1/videos").status_code == 401
    again = admin.delete(f"{URL}/{made['id']}")
    assert again.status_code == 200
    assert again.json()["data"]["revokedAt"] == first["revokedAt"] is not None
    assert ApiKey.objects.filter(pk=made["id"]).exists()


def test_a_key_may_revoke_itself(admin: Client) -> None:
    assert admin.delete(f"{URL}/{ApiKey.objects.get().pk}").status_code == 200
    assert admin.get(URL).status_code == 401


def test_a_key_is_renamed_and_nothing_else(admin: Client, owner: User) -> None:
    key, secret = ApiKey.issue(owner, "first", scope=ApiKey.Scope.READ)
    assert patch(admin, key.pk, {"name": "second"}).json()["data"]["name"] == "second"
    for body in ({"scope": "admin"}, {"name": "a", "expiresAt": None}, {"name": "a\x07"}, {}):
        assert patch(admin, key.pk, body).status_code == 400
    key.refresh_from_db()
    assert (key.name, key.scope) == ("second", "read")
    assert ApiKey.of_secret(secret) == key


def test_another_owners_key_is_404_for_every_operation(admin: Client) -> None:
    other = User.objects.create_user("grace")
    key, _ = ApiKey.issue(other, "hers")
    assert [shown["name"] for shown in admin.get(URL).json()["data"]] == ["admin"]
    for response in (
        admin.get(f"{URL}/{key.pk}"),
        admin.delete(f"{URL}/{key.pk}"),
        patch(admin, key.pk, {"name": "mine"}),
    ):
        assert response.status_code == 404
        assert problem(response)["code"] == "not_found"
    key.refresh_from_db()
    assert (key.name, key.status) == ("hers", "active")


@pytest.mark.parametrize("pk", ["0", "999999", "9" * 30, "9" * 4000, "abc", "-1", "1.5"])
def test_what_is_no_key_is_404(admin: Client, pk: str) -> None:
    assert problem(admin.get(f"{URL}/{pk}"))["code"] == "not_found"
    assert problem(admin.delete(f"{URL}/{pk}"))["code"] == "not_found"


@pytest.mark.parametrize("scope", ["read", "write"])
def test_only_the_scope_admin_manages_keys(owner: User, scope: str) -> None:
    """So that no key makes one with a wider scope than its own."""
    client = caller(owner, scope)
    own = ApiKey.objects.get()
    for response in (
        client.get(URL),
        client.get(f"{URL}/{own.pk}"),
        client.delete(f"{URL}/{own.pk}"),
        patch(client, own.pk, {"name": "other"}),
        *(post(client, {"name": "wider", "scope": wanted}) for wanted in ApiKey.Scope.values),
    ):
        assert response.status_code == 403
        assert problem(response)["code"] == "insufficient_scope"
        assert problem(response)["details"] == {"needed": "admin", "scope": scope}
        assert response["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'
    assert ApiKey.objects.get().name == scope


def test_without_a_key_there_is_nothing(db: None) -> None:
    assert Client().get(URL).status_code == 401
    assert post(Client(), {"name": "a", "scope": "admin"}).status_code == 401
    assert ApiKey.objects.count() == 0


def test_what_a_call_would_ignore_is_refused(admin: Client) -> None:
    pk = ApiKey.objects.get().pk
    assert admin.get(f"{URL}/{pk}?fields=name").status_code == 400
    assert admin.delete(f"{URL}/{pk}?force=1").status_code == 400
    body = json.dumps({"reason": "leaked"})
    assert admin.delete(f"{URL}/{pk}", body, content_type="application/json").status_code == 400
    assert admin.put(f"{URL}/{pk}").status_code == 405
    assert ApiKey.objects.get().status == "active"


def test_the_answers_are_as_the_schema_says(
    admin: Client, schema: dict[str, Any], owner: User, settings: Settings
) -> None:
    one = f"{URL}/{{id}}"
    made = post(admin, {"name": "first", "scope": "write", "expiresInDays": 1})
    pk = made.json()["data"]["id"]
    check(schema, "post", URL, made)
    check(schema, "post", URL, post(admin, {"name": "first"}))
    check(schema, "get", URL, admin.get(URL))
    check(schema, "get", one, admin.get(f"{URL}/{pk}"))
    check(schema, "get", one, admin.get(f"{URL}/{pk}1"))
    check(schema, "patch", one, patch(admin, pk, {"name": "second"}))
    check(schema, "delete", one, admin.delete(f"{URL}/{pk}"))
    check(schema, "get", URL, Client().get(URL))
    check(schema, "get", URL, caller(owner, "read").get(URL))
