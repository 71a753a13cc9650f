"""`manage.py keys`, as operators use it."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import ApiKey, User

pytestmark = pytest.mark.django_db


def keys(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("keys", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_a_key_is_made_and_alone_on_the_standard_output(owner: User) -> None:
    before = timezone.now()
    out, err = keys("make", "ada", "--name", "first", "--scope", "read", "--days", "90")
    key = ApiKey.of_secret(out.strip())
    assert key is not None
    assert out == f"{out.strip()}\n"
    assert (key.owner, key.name, key.scope, key.status) == (owner, "first", "read", "active")
    assert key.expires_at is not None
    assert timedelta(0) <= key.expires_at - before - timedelta(days=90) < timedelta(minutes=1)
    assert f"Key {key.pk} of ada, scope read, until {key.expires_at:%Y-%m-%d %H:%M}" in err
    assert out.strip() not in err


def test_without_days_it_has_no_end(owner: User) -> None:
    out, err = keys("make", "ADA", "--name", "first", "--scope", "admin")
    key = ApiKey.of_secret(out.strip())
    assert key is not None
    assert key.expires_at is None
    assert "without end" in err


def test_the_owner_is_made_only_where_that_is_said() -> None:
    with pytest.raises(CommandError, match="There is no user 'ada'; keys make --new-owner"):
        keys("make", "ada", "--name", "first", "--scope", "write")
    keys("make", "ada", "--name", "first", "--scope", "write", "--new-owner")
    keys("make", "ada", "--name", "second", "--scope", "write", "--new-owner")
    ada = User.objects.get()
    assert not ada.has_usable_password()
    assert not ada.is_staff
    assert ada.api_keys.count() == 2


WRONG = [
    (["make", "ada", "--name", "", "--scope", "read"], "1 to 100 characters"),
    (["make", "ada", "--name", "x" * 101, "--scope", "read"], "1 to 100 characters"),
    (["make", "ada", "--name", "a\nb", "--scope", "read"], "line breaks"),
    (["make", "ada", "--name", "a", "--scope", "root"], "invalid choice: 'root'"),
    (["make", "ada", "--name", "a"], "--scope"),
    (["make", "ada", "--scope", "read"], "--name"),
    (["make", "ada", "--name", "a", "--scope", "read", "--days", "0"], "from 1 to 3650, not 0"),
    (["make", "ada", "--name", "a", "--scope", "read", "--days", "3651"], "from 1 to 3650, not 3651"),
    (["make", "ada", "--name", "a", "--scope", "read", "--days", "x"], "invalid int value"),
    (["make", "a b", "--name", "a", "--scope", "read", "--new-owner"], "cannot be a user's name"),
    (["make", "x" * 151, "--name", "a", "--scope", "read", "--new-owner"], "cannot be a user's name"),
    (["list", "grace"], "There is no user 'grace'"),
    (["revoke", "0"], "There is no key 0"),
    (["revoke", "9" * 30], "There is no key"),
    (["revoke", "takeone_4fJ0"], "invalid int value"),
    ([], "verb"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_what_is_wrong_is_said_and_makes_nothing(owner: User, arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        keys(*arguments)
    assert ApiKey.objects.count() == 0
    assert User.objects.count() == 1


def test_keys_are_listed_with_what_is_known_of_them(owner: User) -> None:
    first, _ = ApiKey.issue(owner, "first", scope=ApiKey.Scope.READ, expires_at=timezone.now())
    first.note_use()
    second, secret = ApiKey.issue(User.objects.create_user("grace"), "second")
    second.revoke()
    out, _ = keys("list")
    head, newest, oldest = out.splitlines()
    assert head.split() == ["ID", "OWNER", "NAME", "PREFIX", "SCOPE", "STATUS", "EXPIRES", "LAST", "USED"]
    assert newest.split() == [str(second.pk), "grace", "second", secret[:12], "write", "revoked", "-", "-"]
    first.refresh_from_db()
    assert first.last_used_at is not None
    assert oldest.split()[:6] == [str(first.pk), "ada", "first", first.prefix, "read", "expired"]
    assert oldest.endswith(f"{first.last_used_at:%Y-%m-%d %H:%M}")
    assert secret not in out
    assert keys("list", "ada")[0].splitlines() == [head, oldest]


def test_a_key_is_revoked_and_that_may_be_repeated(owner: User) -> None:
    key, _ = ApiKey.issue(owner, "first")
    assert keys("revoke", str(key.pk))[0] == f"Key {key.pk}, first ({key.prefix}…): revoked.\n"
    key.refresh_from_db()
    assert key.status == "revoked"
    assert "was revoked already" in keys("revoke", str(key.pk))[0]
