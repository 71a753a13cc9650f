"""A link logs an operator into the admin once, and opens nothing else."""

import io
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core import signing
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.sessions import login_link
from config.logs import FORMS
from tests import log_lines
from tests.accounts.browser import PASSWORD

pytestmark = pytest.mark.django_db

ADMIN = "/admin/"


@pytest.fixture
def operator() -> User:
    return User.objects.create_superuser("takeone")


def path(user: User) -> str:
    """The link without the address of the service."""
    return login_link.link_for(user).removeprefix("http://127.0.0.1:8000")


def refused(answer: Any) -> bool:
    """Whether the answer is the refusal of a link, and has begun no session."""
    if answer.status_code != 403:
        return False
    assert answer.json()["error"]["code"] == "login_link_unusable"
    assert "sessionid" not in answer.cookies
    return True


def test_it_leads_into_the_admin(operator: User) -> None:
    browser = Client()
    answer = browser.get(path(operator))
    assert (answer.status_code, answer["Location"]) == (302, ADMIN)
    assert answer["Cache-Control"] == "no-store"
    assert browser.get(ADMIN).context["user"] == operator


def test_it_works_once(operator: User) -> None:
    link = path(operator)
    first = Client()
    assert first.get(link)["Location"] == ADMIN
    assert refused(Client().get(link))
    # In the browser that it has logged in, it still leads there.
    assert first.get(link)["Location"] == ADMIN
    first.logout()
    assert refused(first.get(link))


def test_of_two_requests_at_once_one_gets_in(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    token = path(operator).partition("token=")[2]
    compare, twins = login_link.constant_time_compare, []

    def compare_after_a_twin(*marks: str) -> bool:
        monkeypatch.setattr(login_link, "constant_time_compare", compare)
        twins.append(login_link.redeem(token))
        return compare(*marks)

    monkeypatch.setattr(login_link, "constant_time_compare", compare_after_a_twin)
    # Both have read the row before either has written it.
    before = User.objects.get(pk=operator.pk)
    monkeypatch.setattr(login_link.User.objects, "filter", _first_finds(before, User.objects.filter))
    assert login_link.redeem(token) is None
    assert twins == [operator]


def _first_finds(row: User, look: Any) -> Any:
    """`filter`, of which the first call finds the row as it was."""
    calls: list[object] = []

    def finds(**conditions: Any) -> Any:
        calls.append(conditions)
        return _Found(row) if len(calls) == 1 else look(**conditions)

    return finds


class _Found:
    def __init__(self, row: User) -> None:
        self._row = row

    def first(self) -> User:
        return self._row


def test_it_ends_after_ten_minutes(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    link, now = path(operator), signing.time.time()  # type: ignore[attr-defined]
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + 601)
    assert refused(Client().get(link))
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + 590)
    assert Client().get(link)["Location"] == ADMIN


def test_no_changed_link_opens_anything(operator: User) -> None:
    link = path(operator)
    at = link.index("token=") + len("token=")
    for place in range(at, len(link)):
        changed = link[:place] + ("A" if link[place] != "A" else "B") + link[place + 1 :]
        assert login_link.redeem(changed[at:]) is None, place
    other = User.objects.create_superuser("grace")
    stolen = signing.dumps([other.pk, "0" * 64], salt="accounts.sessions.login_link")
    for token in ("", "x", signing.dumps([operator.pk, ""]), stolen):
        assert refused(Client().get("/admin/login-link", {"token": token}))
    assert refused(Client().get("/admin/login-link"))
    assert Client().get(link)["Location"] == ADMIN


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_it_is_not_for_whom_the_admin_is_closed(operator: User, change: dict[str, bool]) -> None:
    link = path(operator)
    User.objects.filter(pk=operator.pk).update(**change)
    assert refused(Client().get(link))
    operator.refresh_from_db()
    with pytest.raises(login_link.NotAllowed):
        login_link.link_for(operator)


def test_it_ends_with_the_account_a_new_password_and_another_log_in(operator: User) -> None:
    link = path(operator)
    operator.set_password(PASSWORD)
    operator.save()
    assert refused(Client().get(link))

    link = path(operator)
    assert Client().login(username="takeone", password=PASSWORD)
    assert refused(Client().get(link))

    operator.refresh_from_db()
    link = path(operator)
    operator.delete()
    assert refused(Client().get(link))


def test_a_second_link_works_after_the_first_was_used(operator: User) -> None:
    Client().get(path(operator))
    operator.refresh_from_db()
    assert operator.last_login is not None
    assert timezone.now() - operator.last_login < timedelta(minutes=1)
    assert Client().get(path(operator))["Location"] == ADMIN


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
def test_only_get_uses_it_up(operator: User, method: str) -> None:
    link = path(operator)
    assert Client().generic(method, link).status_code == 405
    assert Client().get(link)["Location"] == ADMIN


@pytest.fixture(params=FORMS)
def console(request: pytest.FixtureRequest, debug: None) -> Iterator[io.StringIO]:
    """All that the settings' own handler writes, at every level."""
    with log_lines.console(request.param) as written:
        yield written


def test_no_log_line_shows_it(operator: User, console: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    link = path(operator)
    token = link.partition("token=")[2]

    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    logging.getLogger("videos").error("GET %s", link)
    with monkeypatch.context() as patched:
        patched.setattr("accounts.sessions.login_link._mark", bug)
        assert Client(raise_request_exception=False).get(link).status_code == 500
    Client().get(link)
    Client().get(link)
    assert "a bug" in console.getvalue()
    assert "login-link?token=…" in console.getvalue().replace("\\u2026", "…")
    assert not any(part in console.getvalue() for part in token.split(":") if len(part) > 10)


def run(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("login_link", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_prints_one_line_that_works(operator: User) -> None:
    out, err = run("TAKEONE")
    (link,) = out.splitlines()
    assert link.startswith("http://127.0.0.1:8000/admin/login-link?token=")
    assert Client().get(link.removeprefix("http://127.0.0.1:8000"))["Location"] == ADMIN
    assert "It works once, for 10 minutes." in err
    assert "token=" not in err


def test_the_command_says_why_it_prints_none(operator: User) -> None:
    with pytest.raises(CommandError, match="There is no user 'ada'"):
        run("ada")
    User.objects.create_user("ada")
    with pytest.raises(CommandError, match="'ada' is not an active member of staff"):
        run("ada")
