"""The tokens in the cookies: which are taken, and which are not."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.contrib.auth import hashers
from pytest_django import Settings

from accounts.models import Session, User
from tests.accounts.browser import ACCESS, AUTH, CSRF, PASSWORD, REFRESH, Browser
from tests.api.test_create import problem

pytestmark = pytest.mark.django_db

KEY = str(settings.SIMPLE_JWT["SIGNING_KEY"])


@pytest.fixture
def browser(settings: Settings) -> Browser:
    """One in which Ada is logged in."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    assert hashers.get_hasher().algorithm == "md5"
    User.objects.create_user("ada", password=PASSWORD)
    browser = Browser()
    browser.log_in()
    return browser


def claims_of(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def signed(claims: dict[str, Any], key: str = KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


def unsigned(claims: dict[str, Any], algorithm: str = "none", signature: str = "") -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}.{signature}"


def tampered(token: str, **claims: Any) -> str:
    """Other claims under the old signature."""
    return unsigned(claims_of(token) | claims, "HS256", token.rpartition(".")[2])


def without(token: str, claim: str) -> str:
    claims = claims_of(token)
    del claims[claim]
    return signed(claims)


NOT_TAKEN: dict[str, Callable[[str], str]] = {
    "garbage": lambda token: "garbage",
    "dots": lambda token: "..",
    "not base64": lambda token: "ä.ö.ü",
    "very long": lambda token: "a" * 5000,
    "half": lambda token: token[: len(token) // 2],
    "no signature": lambda token: token.rpartition(".")[0] + ".",
    "tampered": lambda token: tampered(token, sid="0195f8a2-c3d4-7e1f-8a2b-000000000000"),
    "longer": lambda token: tampered(token, exp=2_000_000_000),
    "alg none": lambda token: unsigned(claims_of(token)),
    "alg None": lambda token: unsigned(claims_of(token), "None"),
    "alg none, old signature": lambda token: unsigned(claims_of(token), "none", token.rpartition(".")[2]),
    "another algorithm": lambda token: signed(claims_of(token), algorithm="HS512"),
    "another key": lambda token: signed(claims_of(token), "another key, long enough for this algorithm"),
    "the secret key": lambda token: signed(claims_of(token), settings.SECRET_KEY),
    "no key": lambda token: unsigned(claims_of(token), "HS256"),
    "expired": lambda token: signed(claims_of(token) | {"exp": int(time.time()) - 11}),
    "expired for long": lambda token: signed(claims_of(token) | {"exp": 1_000_000_000}),
    "from the future": lambda token: signed(claims_of(token) | {"iat": int(time.time()) + 60}),
    "no expiry": lambda token: without(token, "exp"),
    "no id": lambda token: without(token, "jti"),
    "no type": lambda token: without(token, "token_type"),
    "no session": lambda token: without(token, "sid"),
    "an unknown session": lambda token: signed(
        claims_of(token) | {"sid": "0195f8a2-c3d4-7e1f-8a2b-000000000000"}
    ),
}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("made", NOT_TAKEN.values(), ids=NOT_TAKEN.keys())
def test_only_our_own_fresh_token_is_taken(browser: Browser, made: Callable[[str], str]) -> None:
    access, refresh = browser.cookie(ACCESS), browser.cookie(REFRESH)
    browser.keep(ACCESS, made(access))
    for address in (f"{AUTH}/me", "/api/v1/videos", "/api/videos/0195f8a2-c3d4-7e1f-8a2b-000000000000"):
        response = browser.get(address)
        assert (response.status_code, problem(response)["code"]) == (401, "unauthorized")
    browser.keep(REFRESH, made(refresh))
    response = browser.post(f"{AUTH}/refresh")
    assert (response.status_code, problem(response)["code"]) == (401, "unauthorized")
    # Whoever sends such a token ends nobody's session.
    browser.post(f"{AUTH}/logout")
    assert Session.objects.count() == 1
    browser.keep(ACCESS, access)
    assert browser.status() == 200


def test_no_token_is_401(browser: Browser) -> None:
    del browser.client.cookies[ACCESS], browser.client.cookies[REFRESH]
    assert browser.status() == 401
    assert browser.post(f"{AUTH}/refresh").status_code == 401


def test_a_refresh_token_opens_nothing_and_an_access_token_refreshes_nothing(browser: Browser) -> None:
    access, refresh = browser.cookie(ACCESS), browser.cookie(REFRESH)
    browser.keep(ACCESS, refresh)
    assert browser.status() == 401
    browser.keep(REFRESH, access)
    assert browser.post(f"{AUTH}/refresh").status_code == 401
    assert Session.objects.count() == 1


def test_a_clock_that_is_a_little_off_does_not_matter(browser: Browser) -> None:
    now = int(time.time())
    browser.keep(ACCESS, signed(claims_of(browser.cookie(ACCESS)) | {"iat": now + 5, "exp": now - 5}))
    assert browser.status() == 200


def test_a_token_says_nothing_of_its_person(browser: Browser) -> None:
    session = Session.objects.get()
    now = time.time()
    access, refresh = claims_of(browser.cookie(ACCESS)), claims_of(browser.cookie(REFRESH))
    assert set(access) == set(refresh) == {"token_type", "exp", "iat", "jti", "sid"}
    assert access["sid"] == refresh["sid"] == str(session.pk)
    assert access["exp"] == pytest.approx(now + 15 * 60, abs=30)
    assert refresh["exp"] == pytest.approx(session.expires_at.timestamp(), abs=1)
    assert access["jti"] != refresh["jti"] == session.refresh_id


def test_a_token_in_a_header_is_no_key(browser: Browser) -> None:
    stranger = Browser(authorization=f"Bearer {browser.cookie(ACCESS)}")
    assert stranger.status() == 401


def test_a_csrf_cookie_that_is_none_of_ours_is_refused(browser: Browser) -> None:
    for value in ("", "short", "ä" * 32, "a" * 33):
        browser.keep(CSRF, value)
        response = browser.post(f"{AUTH}/logout", csrf=False, **{"x-csrftoken": "a" * 32})
        assert (response.status_code, problem(response)["code"]) == (403, "csrf_failed")
    assert Session.objects.count() == 1
