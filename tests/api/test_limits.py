"""How often a caller may ask, and how it learns where it stands."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, User
from tests.accounts.browser import Browser
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
    # A browser whose session has ended must learn of it.
    assert [Client().get(URL).status_code for _ in range(4)] == [401] * 4


def test_an_open_address_is_limited_by_address(settings: Settings) -> None:
    settings.RATE_LIMIT_READS_PER_MINUTE = 2
    assert [Client().get("/api/v1/videos").status_code for _ in range(2)] == [401, 401]
    statuses = [Client(REMOTE_ADDR="192.0.2.8").get("/schema").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


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
