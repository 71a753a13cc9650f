"""People log in by cookie: who gets a session, what it opens, and what ends it."""

import runpy
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import hashers
from django.db import connection
from django.db.models import F
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import ApiKey, Session, User
from tests.accounts.browser import ACCESS, AUTH, CSRF, PASSWORD, REFRESH, Browser
from tests.api.test_create import problem

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.RATE_LIMIT_LOGINS_PER_MINUTE = 0


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada", "ada@example.com", PASSWORD)


@pytest.fixture
def browser(ada: User) -> Browser:
    """One in which Ada is logged in."""
    browser = Browser()
    assert browser.log_in().status_code == 200
    return browser


def test_who_registers_is_logged_in() -> None:
    browser = Browser()
    response = browser.register("ada", email="ada@example.com")
    assert response.status_code == 201
    user = User.objects.get()
    data = response.json()["data"]
    assert data == {
        "id": user.pk,
        "username": "ada",
        "email": "ada@example.com",
        "csrfToken": data["csrfToken"],
    }
    assert user.check_password(PASSWORD)
    assert (user.is_staff, user.is_superuser) == (False, False)
    shown = browser.get(f"{AUTH}/me")
    assert shown.status_code == 200
    assert shown.json()["data"]["username"] == "ada"
    assert "no-store" in shown["Cache-Control"]


def test_the_email_may_be_left_out() -> None:
    assert Browser().register().json()["data"]["email"] is None


BAD: list[tuple[dict[str, Any], str]] = [
    ({"username": ""}, "username"),
    ({"username": "a b"}, "username"),
    ({"username": "\u0430da"}, "username"),
    ({"username": "a" * 151}, "username"),
    ({"username": 5}, "username"),
    ({"username": None}, "username"),
    ({"password": ""}, "password"),
    ({"password": "short"}, "password"),
    ({"password": "8475638291"}, "password"),
    ({"password": "password123"}, "password"),
    ({"username": "grace-hopper", "password": "grace-hopper1"}, "password"),
    ({"password": "x" * 1001}, "password"),
    ({"password": ["a paper boat"]}, "password"),
    ({"email": "nowhere"}, "email"),
    ({"email": f"ada@{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.example.com"}, "email"),
    ({"is_staff": True}, "is_staff"),
]


@pytest.mark.parametrize(("wrong", "field"), BAD, ids=range(len(BAD)))
def test_a_bad_registration_names_the_field_and_makes_nobody(wrong: dict[str, Any], field: str) -> None:
    response = Browser().register(**{"username": "ada", "password": PASSWORD, **wrong})
    assert response.status_code == 400
    assert {each["field"] for each in problem(response)["details"]} == {field}
    assert User.objects.count() == 0
    assert not response.cookies


@pytest.mark.parametrize("name", ["ada", "Ada", "ADA"])
def test_a_name_is_taken_in_any_case(ada: User, name: str) -> None:
    response = Browser().register(name)
    assert response.status_code == 400
    assert [(each["field"], each["code"]) for each in problem(response)["details"]] == [("username", "taken")]
    assert User.objects.count() == 1


def test_registration_can_be_switched_off(settings: Settings) -> None:
    settings.ALLOW_REGISTRATION = False
    response = Browser().register()
    assert response.status_code == 403
    assert problem(response)["code"] == "registration_closed"
    assert User.objects.count() == 0


def test_https_closes_registration_and_prefixes_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings_with(**environment: str) -> dict[str, Any]:
        with monkeypatch.context() as patch:
            patch.setenv("SECRET_KEY", "x")
            for name, value in environment.items():
                patch.setenv(name, value)
            return runpy.run_path(str(Path(__file__).resolve().parents[2] / "config/settings/service.py"))

    plain = settings_with(TAKEONE_URL="http://127.0.0.1:8000")
    assert (plain["ALLOW_REGISTRATION"], plain["TRUSTED_PROXIES"]) == (True, 0)
    assert (plain["SESSION_COOKIE_SECURE"], plain["CSRF_COOKIE_NAME"]) == (False, "csrftoken")
    secure = settings_with(TAKEONE_URL="https://takeone.example")
    assert (secure["ALLOW_REGISTRATION"], secure["TRUSTED_PROXIES"]) == (False, 1)
    assert (secure["SESSION_COOKIE_SECURE"], secure["CSRF_COOKIE_NAME"]) == (True, "__Host-csrftoken")
    # A scheme has no case.
    assert settings_with(TAKEONE_URL="HTTPS://TakeOne.example")["SESSION_COOKIE_SECURE"] is True
    opened = settings_with(TAKEONE_URL="https://takeone.example", ALLOW_REGISTRATION="yes")
    assert opened["ALLOW_REGISTRATION"] is True
    assert plain["SIMPLE_JWT"]["SIGNING_KEY"] != "x"


def test_the_cookies_are_for_this_service_alone_and_for_no_script(ada: User) -> None:
    response = Browser().log_in()
    access, refresh = response.cookies[ACCESS], response.cookies[REFRESH]
    assert (access["path"], access["samesite"], access["domain"]) == ("/", "Lax", "")
    assert (refresh["path"], refresh["samesite"], refresh["domain"]) == ("/", "Strict", "")
    for cookie in (access, refresh):
        assert cookie["httponly"]
        assert not cookie["secure"]
    assert access["max-age"] == 15 * 60
    assert refresh["expires"]
    assert not response.cookies[CSRF]["httponly"]
    assert "no-store" in response["Cache-Control"]


def test_over_https_the_cookies_are_secure_and_say_so_in_their_names(ada: User, settings: Settings) -> None:
    settings.SESSION_COOKIE_SECURE = True
    browser = Browser()
    cookies = browser.log_in().cookies
    names = ("__Host-takeone-access", "__Host-takeone-refresh")
    for name in names:
        assert cookies[name]["httponly"]
        # What browsers demand of __Host-.
        assert cookies[name]["secure"]
        assert (cookies[name]["path"], cookies[name]["domain"]) == ("/", "")
    assert browser.status() == 200
    assert browser.post(f"{AUTH}/refresh").status_code == 200
    out = browser.post(f"{AUTH}/logout")
    for name in names:
        assert out.cookies[name]["secure"]
        assert out.cookies[name]["max-age"] == 0
        assert out.cookies[name]["path"] == "/"


@pytest.mark.parametrize("name", ["ada", "Ada", " ADA "])
def test_the_name_is_taken_in_any_case_at_log_in(ada: User, name: str) -> None:
    response = Browser().log_in(name)
    assert response.status_code == 200
    assert response.json()["data"]["username"] == "ada"
    ada.refresh_from_db()
    assert ada.last_login is not None


def test_who_is_refused_learns_nothing_of_who_there_is(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    User.objects.create_user("gone", password=PASSWORD, is_active=False)
    User.objects.create_user("machine")
    hashed: list[str] = []
    encode = hashers.MD5PasswordHasher.encode

    def count(self: Any, password: str, salt: str) -> str:
        hashed.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(hashers.MD5PasswordHasher, "encode", count)
    answers = []
    for name, password in (("ada", "wrong"), ("nobody", "wrong"), ("gone", PASSWORD), ("machine", "wrong")):
        before = len(hashed)
        response = Browser().log_in(name, password)
        assert len(hashed) == before + 1, name
        assert not response.cookies
        answers.append((response.status_code, problem(response)["code"], problem(response)["message"]))
    assert set(answers) == {(401, "wrong_credentials", "The username or the password is wrong.")}
    assert Session.objects.count() == 0


def test_blanks_belong_to_a_password(ada: User) -> None:
    assert Browser().log_in(password=f" {PASSWORD}").status_code == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver:8001", "http://test"])
@pytest.mark.parametrize("address", ["login", "register"])
def test_a_page_of_another_site_logs_nobody_in(ada: User, address: str, origin: str) -> None:
    body = {"username": "ada" if address == "login" else "eve", "password": PASSWORD}
    response = Browser().post(f"{AUTH}/{address}", body, origin=origin)
    assert (response.status_code, problem(response)["code"]) == (403, "csrf_failed")
    assert not response.cookies
    assert Session.objects.count() == 0
    assert Browser().post(f"{AUTH}/{address}", body, origin="http://testserver").status_code in {200, 201}


def test_a_form_logs_nobody_in(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
        body = f"username=ada&password={PASSWORD}"
        response = client.generic("POST", f"{AUTH}/login", body, kind)
        assert response.status_code == 415
    assert Session.objects.count() == 0


def test_a_csrf_token_from_before_the_log_in_is_worth_nothing_after_it(ada: User) -> None:
    browser = Browser()
    planted = "a" * 32
    browser.keep(CSRF, planted)
    browser.log_in()
    assert browser.cookie(CSRF) != planted
    assert browser.post(f"{AUTH}/refresh", csrf=False, **{"x-csrftoken": planted}).status_code == 403


def test_a_second_log_in_ends_the_session_that_the_browser_had(browser: Browser) -> None:
    copy = browser.cookie(ACCESS)
    assert browser.log_in().status_code == 200
    assert Session.objects.count() == 1
    browser.keep(ACCESS, copy)
    assert browser.status() == 401


# What a cookie does not do by itself ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("POST", "/api/v1/videos"),
        ("DELETE", "/api/v1/videos/0195f8a2-c3d4-7e1f-8a2b-000000000000"),
        ("POST", "/api/v1/videos/0195f8a2-c3d4-7e1f-8a2b-000000000000/retry"),
        ("POST", "/api/videos/generate"),
        ("POST", f"{AUTH}/refresh"),
        ("POST", f"{AUTH}/logout"),
    ],
)
def test_a_call_that_changes_something_needs_the_csrf_token(
    browser: Browser, method: str, address: str
) -> None:
    before = Session.objects.values().get()
    wrong = {"x-csrftoken": "a" * 64}
    other = {"origin": "https://evil.example"}
    for headers in ({"csrf": False}, wrong, other):
        response = browser.send(method, address, **headers)  # type: ignore[arg-type]
        assert (response.status_code, problem(response)["code"]) == (403, "csrf_failed")
    assert Session.objects.values().get() == before
    # Past the check: what is wrong now is something else, or nothing.
    assert browser.send(method, address).status_code in {200, 204, 400, 404}


def test_over_https_a_call_says_where_it_comes_from(browser: Browser) -> None:
    browser.https = True
    token = {"x-csrftoken": browser.cookie(CSRF)}
    assert browser.post(f"{AUTH}/logout", **token).status_code == 403
    assert browser.post(f"{AUTH}/logout", referer="https://evil.example/", **token).status_code == 403
    assert browser.post(f"{AUTH}/logout", referer="https://testserver/studio", **token).status_code == 204


def test_the_token_of_the_answer_is_as_good_as_the_cookies(browser: Browser) -> None:
    given = browser.get(f"{AUTH}/me").json()["data"]["csrfToken"]
    response = browser.post(f"{AUTH}/refresh", csrf=False, **{"x-csrftoken": given})
    assert response.status_code == 200


def test_reading_needs_no_csrf_token(browser: Browser) -> None:
    assert browser.get("/api/v1/videos").status_code == 200


def test_a_request_with_a_key_is_judged_by_the_key_alone(browser: Browser) -> None:
    assert browser.get("/api/v1/videos", **{"x-api-key": "wrong"}).status_code == 401
    assert browser.get("/api/v1/videos", authorization="Bearer wrong").status_code == 401
    # No cookie is asked, so no CSRF token either.
    key = ApiKey.issue(User.objects.create_user("grace"), "tests")[1]
    answer = browser.post("/api/videos/generate", {}, csrf=False, **{"x-api-key": key})
    assert answer.status_code == 400
    assert browser.get(f"{AUTH}/me", **{"x-api-key": key}).json()["data"]["username"] == "grace"


# Staying, and leaving -------------------------------------------------------------------------------------


def test_a_refresh_replaces_both_tokens(browser: Browser) -> None:
    before = (browser.cookie(ACCESS), browser.cookie(REFRESH))
    response = browser.post(f"{AUTH}/refresh")
    assert response.status_code == 200
    assert response.json()["data"]["username"] == "ada"
    assert browser.cookie(ACCESS) != before[0]
    assert browser.cookie(REFRESH) != before[1]
    assert browser.status() == 200
    assert browser.post(f"{AUTH}/refresh").status_code == 200


def test_a_refresh_token_that_a_neighbour_has_planted_swaps_no_session(
    browser: Browser, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    mallory = Browser()
    mallory.register("mallory")
    own, planted = browser.cookie(REFRESH), mallory.cookie(REFRESH)
    before = list(Session.objects.order_by("pk").values())
    browser.keep(REFRESH, planted)
    response = browser.post(f"{AUTH}/refresh")
    assert (response.status_code, problem(response)["code"]) == (401, "unauthorized")
    assert not response.cookies
    assert "came with a session of user" in caplog.text
    assert list(Session.objects.order_by("pk").values()) == before
    # Neither session has ended by that, and without the planted cookie the person's goes on.
    browser.keep(REFRESH, own)
    assert browser.post(f"{AUTH}/refresh").json()["data"]["username"] == "ada"
    # An access token that is good no more says nothing.
    browser.keep(ACCESS, "ended")
    assert browser.post(f"{AUTH}/refresh").json()["data"]["username"] == "ada"
    settings.SESSION_COOKIE_SECURE = True
    browser.keep("__Secure-takeone-refresh", planted)
    assert browser.post(f"{AUTH}/refresh").status_code == 401


def test_a_refresh_does_not_lengthen_the_session(browser: Browser) -> None:
    ends = Session.objects.get().expires_at
    browser.post(f"{AUTH}/refresh")
    assert Session.objects.get().expires_at == ends
    assert timedelta(days=13) < ends - timezone.now() <= timedelta(days=14)


def test_a_refresh_token_that_was_replaced_ends_the_session_for_all(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    thief = Browser()
    thief.keep(REFRESH, browser.cookie(REFRESH))
    thief.keep(CSRF, "a" * 32)
    assert browser.post(f"{AUTH}/refresh").status_code == 200
    Session.objects.update(replaced_at=F("replaced_at") - timedelta(seconds=11))
    response = thief.post(f"{AUTH}/refresh")
    assert (response.status_code, problem(response)["code"]) == (401, "unauthorized")
    assert browser.status() == 401
    assert browser.post(f"{AUTH}/refresh").status_code == 401
    assert "came twice" in caplog.text


def test_two_tabs_that_refresh_at_once_share_what_comes_of_it(browser: Browser) -> None:
    tab = Browser()
    for name in (REFRESH, CSRF):
        tab.keep(name, browser.cookie(name))
    assert browser.post(f"{AUTH}/refresh").status_code == 200
    assert tab.post(f"{AUTH}/refresh").status_code == 200
    assert (browser.status(), tab.status()) == (200, 200)
    # Whichever answer came last, its token is the one that is taken.
    assert tab.post(f"{AUTH}/refresh").status_code == 200
    assert browser.post(f"{AUTH}/refresh").status_code == 200


def test_only_the_last_token_is_excused(browser: Browser) -> None:
    old = browser.cookie(REFRESH)
    browser.post(f"{AUTH}/refresh")
    browser.post(f"{AUTH}/refresh")
    browser.keep(REFRESH, old)
    assert browser.post(f"{AUTH}/refresh").status_code == 401
    assert Session.objects.count() == 0


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_many_refreshes_at_once_one_rotates(browser: Browser) -> None:
    barrier = threading.Barrier(6)
    cookies = {name: browser.cookie(name) for name in (REFRESH, CSRF)}

    def refresh(_: int) -> Browser:
        tab = Browser()
        for name, value in cookies.items():
            tab.keep(name, value)
        barrier.wait()
        try:
            assert tab.post(f"{AUTH}/refresh").status_code == 200
        finally:
            connection.close()
        return tab

    with ThreadPoolExecutor(6) as pool:
        tabs = list(pool.map(refresh, range(6)))
    assert {tab.status() for tab in tabs} == {200}
    assert {tab.post(f"{AUTH}/refresh").status_code for tab in tabs} == {200}


def test_log_out_ends_the_session_for_copies_too(browser: Browser) -> None:
    thief = Browser()
    for name in (ACCESS, REFRESH, CSRF):
        thief.keep(name, browser.cookie(name))
    response = browser.post(f"{AUTH}/logout")
    assert (response.status_code, response.content) == (204, b"")
    for name in (ACCESS, REFRESH):
        assert (response.cookies[name].value, response.cookies[name]["max-age"]) == ("", 0)
    assert thief.status() == 401
    assert thief.get("/api/v1/videos").status_code == 401
    assert thief.post(f"{AUTH}/refresh").status_code == 401
    assert Session.objects.count() == 0


@pytest.mark.parametrize("left", [ACCESS, REFRESH])
def test_log_out_needs_only_one_of_the_two_tokens(browser: Browser, left: str) -> None:
    del browser.client.cookies[REFRESH if left == ACCESS else ACCESS]
    assert browser.post(f"{AUTH}/logout").status_code == 204
    assert Session.objects.count() == 0


def test_log_out_twice_is_log_out(browser: Browser) -> None:
    assert [browser.post(f"{AUTH}/logout").status_code for _ in range(2)] == [204, 204]


def test_one_persons_log_out_is_not_anothers(browser: Browser) -> None:
    other = Browser()
    other.register("grace")
    other.post(f"{AUTH}/logout")
    assert browser.status() == 200


@pytest.mark.parametrize(
    "ended",
    [
        lambda user: user.delete(),
        lambda user: User.objects.update(is_active=False),
        lambda user: (user.set_password("another paper boat"), user.save()),
        lambda user: Session.objects.update(expires_at=timezone.now()),
    ],
    ids=["deleted", "deactivated", "another password", "expired"],
)
def test_a_session_ends_with_what_it_stands_for(browser: Browser, ada: User, ended: Any) -> None:
    ended(ada)
    for address in (f"{AUTH}/me", "/api/v1/videos"):
        response = browser.get(address)
        assert (response.status_code, problem(response)["code"]) == (401, "unauthorized")
        assert response["WWW-Authenticate"] == "Bearer"
    refused = browser.post(f"{AUTH}/refresh")
    assert (refused.status_code, problem(refused)["code"]) == (401, "unauthorized")


def test_expired_sessions_are_deleted_a_few_with_each_log_in(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.sessions.tokens._FORGOTTEN_AT_ONCE", 2)
    Session.objects.bulk_create(
        Session(user=ada, refresh_id="x", expires_at=timezone.now() - timedelta(days=1)) for _ in range(3)
    )
    for left in (1, 0):
        Browser().log_in()
        assert Session.objects.filter(refresh_id="x").count() == left
    assert Session.objects.count() == 2


@pytest.mark.parametrize("call", ["login", "register", "refresh", "logout"])
def test_what_a_call_does_not_take_is_refused_by_name(browser: Browser, call: str) -> None:
    for response in (
        browser.post(f"{AUTH}/{call}?next=evil"),
        browser.post(f"{AUTH}/{call}", {"next": "evil"}),
    ):
        assert response.status_code == 400
        assert "next" in {each["field"] for each in problem(response)["details"]}
    assert Session.objects.count() == 1
