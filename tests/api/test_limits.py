"""How often a caller may ask, and how it learns where it stands."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, User
from tests.accounts.browser import ACCESS, AUTH, Browser
from tests.api.test_create import URL, post, problem

pytestmark = pytest.mark.django_db


def said(response: Any) -> tuple[int, int, int]:
    """Limit, what remains, seconds until the next minute."""
    limit, remaining, reset = (int(response[f"RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))
    return limit, remaining, reset


def test_an_answer_says_where_its_caller_stands(api: Client, settings: Settings) -> None:
    settings.RATE_LIMIT_READS_PER_MINUTE = 3
    left = []
    for _ in range(3):
        response = api.get(URL)
        limit, remaining, reset = said(response)
        assert (response.status_code, limit) == (200, 3)
        assert 1 <= reset <= 61
        left.append(remaining)
    assert left == [2, 1, 0]
    refused = api.get(URL)
    assert (refused.status_code, said(refused)[1]) == (429, 0)
    assert problem(refused)["code"] == "rate_limited"
    assert refused["Retry-After"] == refused["RateLimit-Reset"]


def test_creates_have_a_limit_of_their_own(api: Client, settings: Settings) -> None:
    settings.RATE_LIMIT_CREATES_PER_MINUTE = 1
    assert post(api, {"prompt": "boat"}).status_code == 201
    refused = post(api, {"prompt": "boat"})
    assert (refused.status_code, said(refused)[0]) == (429, 1)
    assert api.get(URL).status_code == 200


def test_each_key_has_its_own_minute(api: Client, owner: User, settings: Settings) -> None:
    settings.RATE_LIMIT_READS_PER_MINUTE = 1
    other = Client(headers={"x-api-key": ApiKey.issue(owner, "other")[1]})
    assert [api.get(URL).status_code, api.get(URL).status_code] == [200, 429]
    assert other.get(URL).status_code == 200


def test_an_address_that_keeps_sending_bad_keys_gets_429_and_its_other_callers_go_on(
    api: Client, settings: Settings
) -> None:
    settings.RATE_LIMIT_REFUSALS_PER_MINUTE = 2
    nobody = Client(headers={"x-api-key": "guessed"})
    assert [nobody.get(URL).status_code for _ in range(4)] == [401, 401, 429, 429]
    refused = nobody.get(URL)
    assert problem(refused)["code"] == "rate_limited"
    assert int(refused["Retry-After"]) >= 1
    elsewhere = Client(headers={"x-api-key": "guessed"}, REMOTE_ADDR="192.0.2.7")
    assert elsewhere.get(URL).status_code == 401
    assert api.get(URL).status_code == 200


@pytest.mark.parametrize("cookie", ["", "ended"], ids=["no cookie", "a dead cookie"])
def test_a_page_may_ask_whether_somebody_is_logged_in_as_often_as_anybody_reads(
    api: Client, settings: Settings, cookie: str
) -> None:
    settings.RATE_LIMIT_REFUSALS_PER_MINUTE = 1
    settings.RATE_LIMIT_READS_PER_MINUTE = 4
    page = Client()
    if cookie:
        page.cookies[ACCESS] = cookie
    left = []
    for _ in range(4):
        response = page.get(f"{AUTH}/me")
        assert response.status_code == 401
        left.append(said(response)[1])
    assert left == [3, 2, 1, 0]
    # All of the minute is used up by what needs nobody's session; a loop without a session ends here as well.
    refused = page.get(f"{AUTH}/me")
    assert (refused.status_code, problem(refused)["code"]) == (429, "rate_limited")
    assert refused["Retry-After"] == refused["RateLimit-Reset"]
    assert Client().get(URL).status_code == 429
    # Who is known at the same address, and who logs in there, goes on.
    assert api.get(URL).status_code == 200
    assert Browser().log_in().status_code == 401


def refusals(settings: Settings, ask: Callable[[], Any], status: int) -> None:
    """Of three such calls of an address that may have two, the third is 429."""
    settings.RATE_LIMIT_REFUSALS_PER_MINUTE = 2
    assert [ask().status_code for _ in range(3)] == [status, status, 429]


def test_a_call_without_a_session_that_would_change_something_is_a_refusal(
    api: Client, settings: Settings
) -> None:
    refusals(settings, lambda: post(Client(), {"prompt": "boat"}), 401)
    assert post(api, {"prompt": "boat"}).status_code == 201


def test_keys_in_addresses_and_two_keys_are_refusals(api: Client, secret: str, settings: Settings) -> None:
    refusals(settings, lambda: api.get(URL, {"api_key": "guessed"}), 400)
    assert Client().get(URL, {"x": secret}).status_code == 429
    assert api.get(URL, headers={"Authorization": "Bearer other"}).status_code == 429
    assert api.get(URL).status_code == 200


@pytest.mark.usefixtures("quick_hashes")
def test_calls_without_the_csrf_token_are_refusals(db: None, settings: Settings) -> None:
    browser = Browser()
    assert browser.register().status_code == 201
    refusals(settings, lambda: browser.post(URL, {"prompt": "boat"}, csrf=False), 403)
    assert browser.post(URL, {}).status_code == 400
    assert browser.status() == 200


def test_calls_that_a_scope_does_not_include_are_calls_of_the_key(
    api: Client, owner: User, settings: Settings
) -> None:
    settings.RATE_LIMIT_CREATES_PER_MINUTE = 2
    settings.RATE_LIMIT_REFUSALS_PER_MINUTE = 1
    narrow = Client(headers={"x-api-key": ApiKey.issue(owner, "narrow", scope=ApiKey.Scope.READ)[1]})
    answers = [post(narrow, {"prompt": "boat"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [403, 403, 429]
    assert [said(answer)[:2] for answer in answers] == [(2, 1), (2, 0), (2, 0)]
    assert narrow.get(URL).status_code == 200
    assert post(api, {"prompt": "boat"}).status_code == 201


@pytest.mark.parametrize("limit", [0, 2])
def test_what_the_throttle_has_counted_is_no_refusal(settings: Settings, api: Client, limit: int) -> None:
    settings.RATE_LIMIT_REFUSALS_PER_MINUTE = 1
    settings.RATE_LIMIT_CREATES_PER_MINUTE = limit
    assert [post(api, {}).status_code for _ in range(2)] == [400, 400]
    assert Client(headers={"x-api-key": "guessed"}).get(URL).status_code == 401


def test_an_open_address_is_limited_by_address(settings: Settings) -> None:
    settings.RATE_LIMIT_READS_PER_MINUTE = 2
    assert [Client().get("/schema").status_code for _ in range(3)] == [200, 200, 429]
    assert Client(REMOTE_ADDR="192.0.2.8").get("/schema").status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_probes_are_not_limited(api: Client, settings: Settings, path: str) -> None:
    settings.RATE_LIMIT_READS_PER_MINUTE = 1
    assert {api.get(path).status_code for _ in range(3)} <= {200, 503}


def test_without_a_limit_nothing_is_said(api: Client, settings: Settings) -> None:
    settings.RATE_LIMIT_READS_PER_MINUTE = 0
    assert not api.get(URL).has_header("RateLimit-Limit")


@pytest.fixture
def quick_hashes(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.mark.usefixtures("quick_hashes")
def test_each_person_has_a_minute_of_their_own(db: None, settings: Settings) -> None:
    ada, bob = Browser(), Browser()
    assert ada.register("ada").status_code == bob.register("bob").status_code == 201
    settings.RATE_LIMIT_READS_PER_MINUTE = 1
    assert [ada.get(URL).status_code for _ in range(2)] == [200, 429]
    assert bob.get(URL).status_code == 200


@pytest.mark.usefixtures("quick_hashes")
def test_log_ins_have_a_limit_by_address(db: None, settings: Settings) -> None:
    settings.RATE_LIMIT_LOGINS_PER_MINUTE = 2
    settings.RATE_LIMIT_CREATES_PER_MINUTE = 1
    statuses = [Browser().log_in(f"nobody {number}").status_code for number in range(3)]
    assert statuses == [401, 401, 429]
