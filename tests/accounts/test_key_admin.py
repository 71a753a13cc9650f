"""API keys in the admin."""

import re
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.messages.storage import default_storage
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from django.test import Client

from accounts.keys import key_format
from accounts.models import ApiKey, User

URL = "/admin/accounts/apikey/"


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def add(operator: Client, user: User, **fields: str) -> Any:
    form = {"owner": str(user.pk), "name": "first", "scope": "read", "expires_at_0": "", "expires_at_1": ""}
    return operator.post(f"{URL}add/", form | fields, follow=True)


def test_a_key_is_made_and_its_secret_shown_once(operator: Client, owner: User) -> None:
    page = add(operator, owner, expires_at_0="2199-01-01", expires_at_1="00:00").content.decode()
    found = re.search(key_format.PATTERN, page)
    assert found
    key = ApiKey.objects.get()
    assert ApiKey.of_secret(found[0]) == key
    assert (key.owner, key.name, key.scope) == (owner, "first", "read")
    assert key.expires_at is not None
    for address in (URL, f"{URL}{key.pk}/change/", f"{URL}{key.pk}/history/"):
        assert found[0] not in operator.get(address).content.decode()


def test_the_message_with_the_secret_is_never_kept_in_the_database(operator: Client) -> None:
    """Django's default takes the session, which is in the database, for what no cookie holds."""
    request = operator.get(URL).wsgi_request
    storage = default_storage(request)
    for _ in range(50):
        storage.add(messages.WARNING, key_format.generate())
    storage.update(HttpResponse())
    request.session.save()
    assert not any("takeone_" in str(session.get_decoded()) for session in Session.objects.all())


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\x07b"},
        {"scope": "root"},
        {"scope": ""},
        {"owner": "0"},
        {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
    ],
)
def test_a_wrong_form_makes_no_key(operator: Client, owner: User, wrong: dict[str, str]) -> None:
    page = add(operator, owner, **wrong)
    assert page.status_code == 200
    assert "Please correct the error" in page.content.decode()
    assert ApiKey.objects.count() == 0


def test_keys_are_listed_with_their_scope_their_end_and_their_last_use(operator: Client, owner: User) -> None:
    key, _ = ApiKey.issue(owner, "first", scope=ApiKey.Scope.READ)
    page = operator.get(URL).content.decode()
    for column in ("scope", "status", "expires_at", "last_used_at", "revoked_at", "prefix", "owner"):
        assert f"field-{column}" in page
    assert key.prefix in page
    assert key.digest not in page


def test_of_a_key_that_is_there_only_the_name_changes(operator: Client, owner: User) -> None:
    key, _ = ApiKey.issue(owner, "first", scope=ApiKey.Scope.READ)
    page = operator.get(f"{URL}{key.pk}/change/").content.decode()
    assert key.digest not in page
    other = User.objects.get(username="root")
    form = {"owner": str(other.pk), "name": "second", "scope": "admin", "expires_at_0": "2199-01-01"}
    assert operator.post(f"{URL}{key.pk}/change/", form).status_code == 302
    changed = ApiKey.objects.get()
    assert (changed.name, changed.scope, changed.owner, changed.expires_at) == ("second", "read", owner, None)
    assert changed.digest == key.digest


def test_keys_are_revoked_and_not_deleted(operator: Client, owner: User) -> None:
    made = [ApiKey.issue(owner, name)[0] for name in ("first", "second", "third")]
    form = {"action": "revoke", "_selected_action": [str(key.pk) for key in made[:2]]}
    assert "2 revoked." in operator.post(URL, form, follow=True).content.decode()
    assert {key.name for key in ApiKey.objects.filter(revoked_at=None)} == {"third"}
    assert operator.get(f"{URL}{made[0].pk}/delete/").status_code == 403
    assert "delete_selected" not in operator.get(URL).content.decode()
