"""The API key of var/takeone.env, which `make up` keeps from one start to the next."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from accounts.keys import key_format
from accounts.models import ApiKey, User
from config.embedded.shell import first_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAKEONE_VAR", str(tmp_path))
    return tmp_path / "takeone.env"


def start(file: Path) -> str:
    secret = first_key()
    file.write_text(f"export TAKEONE_API_KEY={secret}\n")
    return secret


def test_it_is_made_at_the_first_start_with_all_scopes(file: Path) -> None:
    key = ApiKey.of_secret(start(file))
    assert key is not None
    assert (key.name, key.scope, key.status, key.owner.username) == ("make up", "admin", "active", "takeone")


def test_it_is_kept_at_the_next(file: Path) -> None:
    assert start(file) == start(file)
    assert ApiKey.objects.count() == 1


def test_it_goes_on_working_with_a_new_database(file: Path) -> None:
    secret = start(file)
    ApiKey.objects.all().delete()
    User.objects.all().delete()
    assert start(file) == secret
    assert ApiKey.of_secret(secret) is not None


@pytest.mark.parametrize(
    "old",
    [
        "takeone_E-xKXh0Zz7w_9KjT9nq1mPzJ4H2v7cQk8sY5rLw0aBc",
        "takeone_ExampleExampleExampleExampleExampleExampleE1QSUQ",
        "wrong",
        "''",
        "",
    ],
)
def test_one_of_an_older_form_is_replaced(file: Path, old: str) -> None:
    file.write_text(f"export TAKEONE_API_KEY={old}\n")
    assert key_format.is_well_formed(start(file))


def test_one_that_opens_nothing_any_more_is_replaced(file: Path) -> None:
    first = start(file)
    ApiKey.objects.get().revoke()
    second = start(file)
    assert second != first
    ApiKey.objects.filter(revoked_at=None).update(expires_at=timezone.now() - timedelta(1))
    third = start(file)
    assert third not in {first, second}
    assert start(file) == third
