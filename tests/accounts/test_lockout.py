"""Who guesses passwords waits; who owns one is not locked out by others for long."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models import F, Value
from django.db.models.functions import Lower
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import Settings

from accounts.addresses import address_of
from accounts.models import LoginAttempts, User
from accounts.sessions import lockout
from accounts.sessions.lockout import LockedOut, admit, succeed
from tests.accounts.browser import PASSWORD, Browser
from tests.api.test_create import problem

pytestmark = pytest.mark.django_db

NOW = datetime.fromisoformat("2026-11-21T10:00:00+00:00")
HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def _quick(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.RATE_LIMIT_LOGINS_PER_MINUTE = 0
    settings.RATE_LIMIT_REFUSALS_PER_MINUTE = 0


def after(**time: float) -> datetime:
    return NOW + timedelta(**time)


def wait(username: str, address: str, now: datetime) -> float:
    """The seconds for which a try is refused; 0 where it was admitted, and so counted as failed."""
    try:
        admit(username, address, now=now)
    except LockedOut as locked:
        return locked.wait
    return 0


def fail(times: int, username: str = "ada", address: str = HERE, now: datetime = NOW) -> None:
    for _ in range(times):
        assert wait(username, address, now) == 0


def names() -> Iterator[str]:
    return (f"name-{number}" for number in range(1000))


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_after_five_failures_the_right_password_is_refused_too(name: str) -> None:
    User.objects.create_user("ada", password=PASSWORD)
    browser = Browser()
    assert [browser.log_in(name, "wrong").status_code for _ in range(5)] == [401] * 5
    # What is kept in a cache may be gone at any time.
    cache.clear()
    for password in ("wrong", PASSWORD):
        response = browser.log_in(name.upper(), password)
        assert (response.status_code, problem(response)["code"]) == (429, "locked_out")
        assert 55 <= int(response["Retry-After"]) <= 60
        assert not response.cookies
    LoginAttempts.objects.update(locked_until=F("locked_until") - timedelta(seconds=61))
    assert browser.log_in("ada").status_code == 200


def test_who_knows_the_password_logs_in_as_often_as_it_likes() -> None:
    User.objects.create_user("ada", password=PASSWORD)
    assert [Browser().log_in().status_code for _ in range(7)] == [200] * 7


# Python lowers the first of them to two characters, and the database, where it knows that letter, to an i.
SPELLINGS = [("\u0130da", "ida"), ("\xc4da", "\xe4da"), ("ADA", "ada")]


@pytest.mark.parametrize("there", [True, False], ids=["somebody", "nobody"])
@pytest.mark.parametrize(("spelling", "name"), SPELLINGS, ids=["dotted I", "umlaut", "capitals"])
def test_names_are_counted_as_one_where_the_look_up_takes_them_for_one(
    spelling: str, name: str, there: bool
) -> None:
    user = User.objects.create_user(name, password=PASSWORD)
    one = User.objects.alias(low=Lower("username")).filter(low=Lower(Value(spelling))).exists()
    if not there:
        user.delete()
    assert [Browser().log_in(name, "wrong").status_code for _ in range(4)] == [401] * 4
    assert Browser().log_in(spelling, "wrong").status_code == 401
    assert (Browser().log_in(name, "wrong").status_code == 429) is one
    form = {"username": spelling, "password": PASSWORD}
    assert (b"Try again in 1 min." in Client().post("/admin/login/", form).content) is one


def test_the_admin_takes_no_more_guesses_than_the_api() -> None:
    User.objects.create_superuser("root", password=PASSWORD)
    operator = Client()

    def log_in(password: str) -> bytes:
        form = {"username": "root", "password": password}
        return bytes(operator.post("/admin/login/", form).content)

    for _ in range(5):
        assert b"Please enter the correct username" in log_in("wrong")
    assert b"Try again in 1 min." in log_in(PASSWORD)
    assert Browser().log_in("root").status_code == 429
    LoginAttempts.objects.update(locked_until=None)
    assert operator.get("/admin/").status_code == 302
    assert log_in(PASSWORD) == b""
    assert operator.get("/admin/").status_code == 200
    fail(5, "root", "127.0.0.1", timezone.now())


def test_each_further_failure_doubles_the_wait_up_to_an_hour() -> None:
    fail(5)
    now, waits = NOW, []
    for _ in range(8):
        waits.append(wait("ada", HERE, now))
        now += timedelta(seconds=waits[-1])
        fail(1, now=now)
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_the_wait_is_what_is_left_of_it() -> None:
    fail(5)
    assert wait("ada", HERE, after(seconds=45)) == 15
    assert wait("ada", HERE, after(seconds=60)) == 0


def test_a_success_forgets_the_failures_before_it() -> None:
    fail(4)
    succeed(admit("ada", HERE, now=NOW), now=NOW)
    fail(5)
    assert wait("ada", HERE, NOW) == 60


def test_failures_from_elsewhere_or_of_others_do_not_lock() -> None:
    fail(5)
    assert wait("ada", THERE, NOW) == 0
    assert wait("grace", HERE, NOW) == 0


def test_an_address_that_tries_many_names_waits_with_all_of_them() -> None:
    name = names()
    for _ in range(50):
        fail(1, next(name))
    assert wait("ada", HERE, NOW) == 60
    assert wait("ada", THERE, NOW) == 0


def test_log_ins_that_succeed_lock_no_address() -> None:
    for name, _ in zip(names(), range(60), strict=False):
        succeed(admit(name, HERE, now=NOW), now=NOW)
    fail(5, "ada")
    assert wait("grace", HERE, NOW) == 0


def test_a_success_lifts_no_lock_that_another_try_has_set() -> None:
    name = names()
    for _ in range(48):
        fail(1, next(name))
    mine = admit("mallory", HERE, now=NOW)
    fail(1, next(name))
    succeed(mine, now=NOW)
    assert wait("ada", HERE, NOW) == 60


def test_a_success_lifts_the_lock_that_its_own_try_has_set() -> None:
    name = names()
    for _ in range(49):
        fail(1, next(name))
    succeed(admit("ada", HERE, now=NOW), now=NOW)
    assert wait("grace", HERE, NOW) == 0


def guess_from_everywhere(now: datetime) -> None:
    for number in range(50):
        fail(1, address=f"198.51.100.{number}", now=now)


def test_a_name_that_is_guessed_from_everywhere_waits_everywhere() -> None:
    guess_from_everywhere(NOW)
    assert wait("ada", HERE, NOW) == 60
    assert wait("grace", HERE, NOW) == 0


def test_nobody_is_locked_out_by_others_where_it_has_logged_in_before() -> None:
    succeed(admit("ada", HERE, now=NOW), now=NOW)
    guess_from_everywhere(after(days=29))
    assert wait("ada", THERE, after(days=29)) == 60
    assert wait("ada", HERE, after(days=29)) == 0
    # There it still has tries of its own alone.
    fail(4, now=after(days=29))
    assert wait("ada", HERE, after(days=29)) == 60


def test_a_log_in_from_a_known_address_lifts_no_lock_elsewhere() -> None:
    succeed(admit("ada", HERE, now=NOW), now=NOW)
    guess_from_everywhere(after(days=1))
    succeed(admit("ada", HERE, now=after(days=1)), now=after(days=1))
    assert wait("grace", HERE, after(days=1, seconds=1)) == 0
    assert wait("ada", THERE, after(days=1, seconds=1)) == 59


def test_an_address_is_known_for_thirty_days() -> None:
    succeed(admit("ada", HERE, now=NOW), now=NOW)
    guess_from_everywhere(after(days=31))
    assert wait("ada", HERE, after(days=31)) == 60


def test_a_failure_does_not_make_a_known_address_unknown() -> None:
    succeed(admit("ada", HERE, now=NOW), now=NOW)
    fail(1, now=after(hours=1))
    guess_from_everywhere(after(days=20))
    assert wait("ada", HERE, after(days=20)) == 0


def test_failures_are_forgotten_a_day_after_the_first_and_those_of_an_address_after_an_hour() -> None:
    fail(4)
    fail(4, now=after(hours=24))
    name = names()
    for minute in range(45):
        fail(1, next(name), now=after(hours=24, minutes=minute))
    assert wait("grace", HERE, after(hours=25)) == 0
    for _ in range(45):
        fail(1, next(name), now=after(hours=25))


def test_a_lock_of_a_name_or_an_address_lasts_a_quarter_of_an_hour_at_most() -> None:
    guess_from_everywhere(NOW)
    name = names()
    for _ in range(50):
        fail(1, next(name))
    LoginAttempts.objects.update(failures=10_000, locked_until=None)
    fail(1, "grace", HERE, NOW)
    assert wait("eve", HERE, NOW) == 900
    fail(1, "ada", THERE, NOW)
    assert wait("ada", "192.0.2.9", NOW) == 900


def test_a_refused_try_counts_for_nothing_and_leaves_nothing() -> None:
    fail(5)
    before = list(LoginAttempts.objects.order_by("pk").values())
    for _ in range(20):
        assert wait("ada", HERE, NOW) == 60
    assert list(LoginAttempts.objects.order_by("pk").values()) == before
    name = names()
    for _ in range(45):
        fail(1, next(name))
    rows = LoginAttempts.objects.count()
    for _ in range(20):
        assert wait(next(name), HERE, NOW) == 60
    assert LoginAttempts.objects.count() == rows


def test_what_was_typed_is_not_kept() -> None:
    fail(1, "my password, in the wrong field")
    kept = str(list(LoginAttempts.objects.values()))
    assert "password" not in kept
    assert HERE not in kept


def test_stale_counts_are_deleted_a_few_with_each_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "_FORGOTTEN_AT_ONCE", 2)
    LoginAttempts.objects.bulk_create(
        LoginAttempts(subject=f"stale {number}", counted_from=NOW, forget_at=NOW) for number in range(3)
    )
    LoginAttempts.objects.create(subject="fresh", counted_from=NOW, forget_at=after(hours=1))
    for left in (1, 0):
        fail(1, now=NOW)
        assert LoginAttempts.objects.filter(subject__startswith="stale").count() == left
    assert LoginAttempts.objects.filter(subject="fresh").exists()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_many_tries_at_once_five_reach_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def authenticate(*_: Any, username: str, **__: Any) -> None:
        looked.append(username)

    monkeypatch.setattr("accounts.sessions.views.authenticate", authenticate)
    barrier = threading.Barrier(12)

    def guess(_: int) -> int:
        barrier.wait()
        try:
            return int(Browser().log_in(password="wrong").status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(12) as pool:
        statuses = sorted(pool.map(guess, range(12)))
    assert statuses == [401] * 5 + [429] * 7
    assert len(looked) == 5


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_tries_that_share_names_and_addresses_do_not_block_each_other() -> None:
    barrier = threading.Barrier(8)
    now = timezone.now()

    def guess(number: int) -> None:
        barrier.wait()
        try:
            for turn in range(8):
                attempt = admit(f"name-{(number + turn) % 3}", f"192.0.2.{number % 2}", now=now)
                succeed(attempt, now=now)
        except LockedOut:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(guess, range(8)))


ADDRESSES = [
    (0, "192.0.2.1", "", "192.0.2.1"),
    (0, "192.0.2.1", "203.0.113.5", "192.0.2.1"),
    (1, "10.0.0.1", "203.0.113.5", "203.0.113.5"),
    (1, "10.0.0.1", "1.1.1.1, 203.0.113.5", "203.0.113.5"),
    (2, "10.0.0.1", "1.1.1.1, 203.0.113.5, 10.0.0.2", "203.0.113.5"),
    (1, "192.0.2.1", "", "192.0.2.1"),
    (2, "192.0.2.1", "203.0.113.5", "192.0.2.1"),
    (0, "2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
    (0, "::ffff:192.0.2.1", "", "192.0.2.1"),
    (0, "", "", ""),
    (1, "10.0.0.1", "unknown", "unknown"),
    (1, "10.0.0.1", "203.0.113.1:4000", "203.0.113.1"),
    (1, "10.0.0.1", "1.1.1.1, 203.0.113.1:", "203.0.113.1"),
    (1, "10.0.0.1", "[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64"),
    (1, "10.0.0.1", "[2001:db8:1:2:3:4:5:6]", "2001:db8:1:2::/64"),
    (1, "10.0.0.1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    (1, "10.0.0.1", "[::ffff:203.0.113.1]:443", "203.0.113.1"),
    (1, "10.0.0.1", "unknown:4000", "unknown"),
    (1, "10.0.0.1", ":4000", "10.0.0.1"),
]


@pytest.mark.parametrize(("proxies", "remote", "passed_on", "address"), ADDRESSES, ids=range(len(ADDRESSES)))
def test_an_address_is_what_trusted_proxies_say(
    settings: Settings, proxies: int, remote: str, passed_on: str, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    headers = {"x-forwarded-for": passed_on} if passed_on else {}
    assert address_of(RequestFactory().get("/", REMOTE_ADDR=remote, headers=headers)) == address


def test_a_forged_header_evades_no_lock() -> None:
    User.objects.create_user("ada", password=PASSWORD)
    for number in range(5):
        assert (
            Browser(**{"x-forwarded-for": f"203.0.113.{number}"}).log_in(password="wrong").status_code == 401
        )
    assert Browser(**{"x-forwarded-for": "203.0.113.9"}).log_in().status_code == 429
