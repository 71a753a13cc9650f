"""What is set aside is settled or released once, and never more than a budget allows."""

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.budgets import counting, reservations
from accounts.budgets.counting import begins, count_some
from accounts.budgets.reservations import (
    BudgetExceeded,
    PriceUnknown,
    charge,
    release,
    release_all,
    reserve,
    reserve_all,
    settle,
)
from accounts.models import ApiKey, Budget, Reservation, Spending, User
from tests.configured import configure, priced
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_reconcile import dropped, search_at, through_the_window
from tests.videos.test_submit import only, raising
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.types import CreateRequest, Phase
from upstreams.clock import shifted
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.outcomes import accept
from videos.lifecycle.retry import retry
from videos.models import Job, Submission, locked
from videos.results.store import store

pytestmark = pytest.mark.django_db

ONE = Decimal("0.40")
URL = "/api/v1/videos"


@pytest.fixture(autouse=True)
def _window(settings: Settings) -> None:
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]


@pytest.fixture
def key(owner: User) -> ApiKey:
    return ApiKey.issue(owner, "one")[0]


def limit(owner: User, amount: str, period: str = "day", key: ApiKey | None = None) -> Budget:
    return Budget.objects.create(owner=owner, api_key=key, period=period, limit=Decimal(amount))


def counted(owner: User, key: ApiKey | None = None, period: str = "day") -> tuple[Decimal, Decimal]:
    """Reserved and settled, once all is counted."""
    while count_some():
        pass
    # What ended before it was counted needs no row.
    row = Spending.objects.filter(owner=owner, api_key=key, period=period).first() or Spending()
    return Decimal(row.reserved) / 10_000, Decimal(row.settled) / 10_000


def agree() -> None:
    """Every counter is the sum of what it counts, once all is counted."""
    while count_some():
        pass
    for row in Spending.objects.all():
        own = Reservation.objects.filter(owner=row.owner)
        own = own.filter(api_key=row.api_key) if row.api_key else own
        own = [each for each in own if begins(row.period, each.made_on) == row.starts_on]
        assert row.reserved == 10_000 * sum(each.amount for each in own if each.state == "held")
        assert row.settled == 10_000 * sum(each.settled for each in own if each.state == "settled")


@pytest.mark.parametrize("period", ["day", "month"])
@pytest.mark.parametrize("of_key", [False, True])
def test_nothing_is_reserved_beyond_a_budget(owner: User, key: ApiKey, period: str, of_key: bool) -> None:
    limit(owner, "1.00", period, key if of_key else None)
    reserve(owner, key, ONE)
    reserve(owner, key, ONE)
    with pytest.raises(BudgetExceeded) as refused:
        reserve(owner, key, ONE)
    assert refused.value.extra["left"] == "0.20"
    assert refused.value.extra["period"] == period
    assert refused.value.extra["scope"] == ("key" if of_key else "owner")
    assert "0.20 left until" in str(refused.value.detail)
    reserve(owner, key, Decimal("0.20"))


def test_a_keys_budget_is_its_own_and_an_owners_is_for_all_keys(owner: User, key: ApiKey) -> None:
    other = ApiKey.issue(owner, "two")[0]
    limit(owner, "0.40", key=key)
    limit(owner, "0.80")
    reserve(owner, key, ONE)
    with pytest.raises(BudgetExceeded):
        reserve(owner, key, ONE)
    reserve(owner, other, ONE)
    with pytest.raises(BudgetExceeded) as refused:
        reserve(owner, None, ONE)
    assert refused.value.extra["scope"] == "owner"


def test_what_was_spent_counts_as_what_is_reserved(owner: User) -> None:
    limit(owner, "0.80")
    settle(reserve(owner, None, ONE), ONE)
    reserve(owner, None, ONE)
    with pytest.raises(BudgetExceeded):
        reserve(owner, None, ONE)


def test_another_keys_budget_binds_no_key(owner: User, key: ApiKey) -> None:
    limit(owner, "0", key=ApiKey.issue(owner, "two")[0])
    reserve(owner, key, None)
    assert reservations.remaining(owner, key) == []


def test_budgets_of_others_do_not_count(owner: User, key: ApiKey) -> None:
    bob = User.objects.create_user("bob")
    limit(bob, "0")
    reserve(owner, key, ONE)
    with pytest.raises(BudgetExceeded):
        reserve(bob, None, ONE)


def test_a_reservation_ends_once(owner: User, key: ApiKey) -> None:
    spent, given_back = reserve(owner, key, ONE), reserve(owner, key, ONE)
    assert counted(owner) == (2 * ONE, 0)
    assert settle(spent, ONE)
    assert not settle(spent, ONE)
    assert not release(spent)
    assert release(given_back)
    assert not release(given_back)
    assert not settle(given_back, ONE)
    for row in (counted(owner), counted(owner, key), counted(owner, key, "month")):
        assert row == (0, ONE)
    agree()


def test_many_are_reserved_all_or_none(owner: User, key: ApiKey) -> None:
    limit(owner, "1.19")
    with pytest.raises(BudgetExceeded) as refused:
        reserve_all(owner, key, [ONE, ONE, ONE])
    assert refused.value.extra["price"] == "1.20"
    with pytest.raises(PriceUnknown):
        reserve_all(owner, key, [ONE, None])
    assert not Reservation.objects.exists()
    assert len(reserve_all(owner, key, [ONE, ONE])) == 2
    assert counted(owner) == counted(owner, key) == (2 * ONE, 0)
    agree()


def test_many_are_released_at_once_each_in_its_period_and_once(
    owner: User, key: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(reservations.timezone, "now", lambda: datetime(2026, 1, 31, 23, 59, tzinfo=UTC))
        early = reserve_all(owner, key, [ONE, ONE])
    today = reserve_all(owner, None, [ONE, ONE, ONE])
    settle(today[0], None)
    release(today[1])
    everything = [each.pk for each in (*early, *today)]
    release_all(everything)
    release_all(everything)
    states = Reservation.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == ["released", "released", "settled", "released", "released"]
    agree()
    assert set(Spending.objects.values_list("reserved", flat=True)) == {0}


def test_a_reservation_ends_in_the_period_in_which_it_was_made(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(owner, "0.40")
    monkeypatch.setattr(reservations.timezone, "now", lambda: datetime(2026, 1, 31, 23, 59, tzinfo=UTC))
    held = reserve(owner, None, ONE)
    with pytest.raises(BudgetExceeded) as refused:
        reserve(owner, None, ONE)
    assert refused.value.extra["renewsAt"] == "2026-02-01T00:00:00.000Z"
    monkeypatch.setattr(reservations.timezone, "now", lambda: datetime(2026, 2, 1, tzinfo=UTC))
    # The new day has all of its budget, before and after the old reservation ends.
    reserve(owner, None, ONE)
    settle(held, ONE)
    agree()
    january = Spending.objects.get(period="day", starts_on="2026-01-31")
    assert (january.reserved, january.settled) == (0, 4_000)
    february = Spending.objects.get(period="month", starts_on="2026-02-01")
    assert (february.reserved, february.settled) == (4_000, 0)


@pytest.mark.parametrize(
    ("period", "day", "renews"),
    [
        ("day", "2026-12-31", "2027-01-01"),
        ("month", "2026-12-31", "2027-01-01"),
        ("month", "2026-12-01", "2027-01-01"),
        ("month", "2028-02-29", "2028-03-01"),
        ("month", "2026-01-31", "2026-02-01"),
    ],
)
def test_periods_end_at_midnight_utc(period: str, day: str, renews: str) -> None:
    found = reservations.renews_at(period, datetime.fromisoformat(day).date())
    assert found == datetime.fromisoformat(renews).replace(tzinfo=UTC)


def test_an_unknown_price_is_refused_only_under_a_budget(owner: User, key: ApiKey) -> None:
    reserve(owner, key, None)
    limit(owner, "100")
    with pytest.raises(PriceUnknown):
        reserve(owner, key, None)


def test_what_was_spent_counts_whatever_the_budget_says(owner: User) -> None:
    limit(owner, "0")
    charge(owner, None, ONE)
    assert counted(owner) == (0, ONE)
    agree()


def test_many_small_amounts_add_up_exactly(owner: User) -> None:
    limit(owner, "1.00")
    for _ in range(10):
        held = [reserve(owner, None, Decimal("0.10")) for _ in range(10)]
        with pytest.raises(BudgetExceeded):
            reserve(owner, None, Decimal("0.0001"))
        for each in held:
            release(each)
    assert counted(owner) == (0, 0)


def test_a_price_finer_than_what_is_kept_is_counted_as_it_is_kept(
    make_job: Callable[..., Job], owner: User, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, priced(upstream, {"sora-2": {"1280x720": Decimal("0.0000125")}}))
    for _ in range(3):
        cancel(make_job(duration=4))
    assert counted(owner) == (0, 0)
    agree()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_whatever_happens_at_once_no_counter_drifts(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [None, *(ApiKey.issue(owner, str(number))[0] for number in range(3))]
    for each in keys:
        limit(owner, "2.00", "month", each)
    days = [datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]

    def act(seed: int) -> None:
        chance = random.Random(seed)
        held: list[Reservation] = []
        try:
            for _ in range(30):
                if held and chance.random() < 0.5:
                    ended = held.pop()
                    with transaction.atomic():
                        release(ended) if chance.random() < 0.8 else settle(ended, ONE)
                    continue
                with suppress(BudgetExceeded), transaction.atomic():
                    held.append(
                        reserve(owner, chance.choice(keys), Decimal(chance.choice(["0.40", "0.0003"])))
                    )
        finally:
            connection.close()

    # Each call has one of the days, so that periods overlap.
    turn = itertools.cycle(days)
    monkeypatch.setattr(reservations.timezone, "now", lambda: next(turn))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, range(8)))
    agree()


@pytest.mark.postgres
def test_all_counters_are_locked_by_one_statement(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that lock some after others, of another day or key, would wait for each other."""
    keys = [None, *(ApiKey.issue(owner, str(number))[0] for number in range(2))]
    days = [datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]
    for day in days:
        monkeypatch.setattr(reservations.timezone, "now", lambda day=day: day)
        for key in keys:
            reserve(owner, key, ONE)
    limit(owner, "20.00", "month", None)
    with CaptureQueriesContext(connection) as queries:
        reserve(owner, keys[1], ONE)
    locks = [
        each
        for each in queries
        if 'FROM "accounts_spending"' in str(each["sql"]) and "FOR UPDATE" in str(each["sql"])
    ]
    assert len(locks) == 1
    agree()


def submitted(job: Job, upstream: Upstream) -> Submission:
    submit_next(upstream)
    return only(job)


def test_a_stored_render_is_settled(job: Job, owner: User, upstream: Upstream, sora: ScriptedClient) -> None:
    assert counted(owner) == (ONE, 0)
    submission = submitted(job, upstream)
    job.refresh_from_db()
    assert job.reservation is None, "it went on to the submission"
    sora.complete(str(submission.upstream_id))
    sweep(upstream)
    assert counted(owner) == (0, ONE)
    store(only(job), upstream)
    assert counted(owner) == (0, ONE)
    agree()


@pytest.mark.parametrize(("bills", "settled"), [(False, Decimal(0)), (True, ONE)])
def test_a_failed_render_is_settled_where_it_is_billed(
    job: Job,
    owner: User,
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    bills: bool,
    settled: Decimal,
) -> None:
    configure(monkeypatch, replace(upstream, bills_failed=bills))
    sora.fail(str(submitted(job, upstream).upstream_id))
    sweep(upstream)
    assert counted(owner) == (0, settled)
    agree()


def test_what_was_not_sent_goes_back_to_its_job_and_with_its_cancel_to_the_budget(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    held = job.reservation
    sora.before = raising(errors.Busy("429", retry_after=1))
    assert submitted(job, upstream).state == "unsent"
    job.refresh_from_db()
    assert job.reservation == held
    assert counted(owner) == (ONE, 0)
    cancel(job)
    assert counted(owner) == (0, 0)
    agree()


def test_a_refused_job_gives_its_price_back(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.Rejected("no"))
    assert submitted(job, upstream).state == "rejected"
    assert counted(owner) == (0, 0)
    agree()


def test_an_absent_create_uses_its_reservation_again(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    limit(owner, "0.40")
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    assert through_the_window(job, upstream).state == "absent"
    assert counted(owner) == (ONE, 0)
    sora.before = None
    with shifted(timedelta(seconds=20)):
        submit_next(upstream)
    last = job.submissions.order_by("-number")[0]
    assert last.state == "rendering"
    sora.complete(str(last.upstream_id))
    sweep(upstream)
    assert counted(owner) == (0, ONE)
    assert Reservation.objects.count() == 1
    agree()


def test_an_absent_create_of_a_cancelled_job_gives_its_price_back(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    cancel(job)
    assert counted(owner) == (ONE, 0), "it may have to be paid"
    assert through_the_window(job, upstream).state == "absent"
    assert counted(owner) == (0, 0)
    agree()


def test_tries_that_come_to_an_end_give_the_price_back(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_MAX_RETRIES = 0
    sora.before = raising(errors.OutcomeUnknown("500", answered=True))
    submit_next(upstream)
    through_the_window(job, upstream)
    job.refresh_from_db()
    assert job.status == "failed"
    assert counted(owner) == (0, 0)
    agree()


def test_a_retry_reserves_anew_and_may_be_refused(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.fail(str(submitted(job, upstream).upstream_id))
    sweep(upstream)
    budget = limit(owner, "0.39")
    with pytest.raises(BudgetExceeded):
        retry(job)
    job.refresh_from_db()
    assert job.status == "failed"
    budget.limit = ONE
    budget.save()
    retry(job)
    assert counted(owner) == (ONE, 0)
    cancel(job)
    assert counted(owner) == (0, 0)
    agree()


def test_a_price_that_rises_while_a_job_waits_goes_past_no_budget(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(owner, "0.40")
    configure(monkeypatch, priced(upstream, {"sora-2": {"1280x720": Decimal(5)}}))
    sora.complete(str(submitted(job, upstream).upstream_id))
    sweep(upstream)
    assert only(job).price == ONE
    assert counted(owner) == (0, ONE)
    agree()


def test_a_retry_costs_what_is_listed_then_and_counts_for_the_key_that_asks(
    job: Job,
    owner: User,
    key: ApiKey,
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sora.fail(str(submitted(job, upstream).upstream_id))
    sweep(upstream)
    configure(monkeypatch, priced(upstream, {"sora-2": {"1280x720": Decimal(5)}}))
    budget = limit(owner, "19.99", key=key)
    with pytest.raises(BudgetExceeded):
        retry(Job.objects.get(), api_key=key)
    budget.limit = Decimal(20)
    budget.save()
    retry(Job.objects.get(), api_key=key)
    job.refresh_from_db()
    assert (job.estimated_cost, job.api_key) == (20, key)
    assert counted(owner, key) == (20, 0)
    agree()


def test_a_retry_uses_the_reservation_of_a_create_that_is_undecided(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    limit(owner, "0.40")
    sora.after = dropped
    submit_next(upstream)
    cancel(job)
    retry(job)
    assert counted(owner) == (ONE, 0)
    assert search_at(job, upstream, 2.5).state == "rendering"
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    assert counted(owner) == (0, ONE)
    agree()


def test_a_retry_that_goes_on_with_its_render_reserves_nothing(
    job: Job, owner: User, upstream: Upstream
) -> None:
    limit(owner, "0.40")
    submit_next(upstream)
    cancel(job)
    retry(job)
    job.refresh_from_db()
    assert job.status == "processing"
    assert counted(owner) == (ONE, 0)
    agree()


def test_what_was_called_absent_and_accepted_after_all_takes_its_reservation_back(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    absent = through_the_window(job, upstream)
    with locked(absent) as (locked_job, submission):
        video = sora.add(CreateRequest(**submission.request))
        assert accept(locked_job, submission, video, upstream, how="answered")
    job.refresh_from_db()
    assert (job.status, job.reservation) == ("processing", None)
    assert counted(owner) == (ONE, 0)
    sora.complete(video.id)
    sweep(upstream)
    assert counted(owner) == (0, ONE)
    agree()


def test_what_was_accepted_after_its_reservation_had_gone_is_charged(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    absent = through_the_window(job, upstream)
    cancel(job)
    assert counted(owner) == (0, 0)
    with locked(absent) as (locked_job, submission):
        video = sora.add(CreateRequest(**submission.request))
        accept(locked_job, submission, video, upstream, how="answered")
    assert only(job).state == "given_up"
    assert counted(owner) == (0, ONE)
    agree()


def test_what_is_given_up_counts_as_spent_once(
    job: Job, owner: User, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    submission = submitted(job, upstream)
    with worked(settings.JOB_GIVE_UP_AFTER + 1):
        sweep(upstream)
    assert only(job).state == "given_up"
    assert counted(owner) == (0, ONE)
    job.refresh_from_db()
    retry(job)
    sora.set(str(submission.upstream_id), Phase.FAILED)
    sweep(upstream)
    assert counted(owner) == (0, ONE), "a cost once settled stays"
    agree()


def test_a_caller_over_budget_gets_402_and_no_job(api: Client, owner: User) -> None:
    limit(owner, "0.50", "month")
    body = {"prompt": "boat", "duration": 4}
    assert api.post(URL, body, content_type="application/json").status_code == 201
    response = api.post(URL, body, content_type="application/json", headers={"Idempotency-Key": "one"})
    assert response.status_code == 402
    error = response.json()["error"]
    assert error["code"] == "budget_exceeded"
    assert error["details"]["left"] == "0.10"
    assert Job.objects.count() == 1
    agree()
    Budget.objects.update(limit=1)
    response = api.post(URL, body, content_type="application/json", headers={"Idempotency-Key": "one"})
    assert response.status_code == 201, "an error keeps no key"


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_budget_for_ten_videos_is_one_for_ten_under_concurrency(
    owner: User, secret: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, upstream)
    limit(owner, "4.10")

    def ask(number: int) -> int:
        try:
            body = {"prompt": f"boat {number}", "duration": 4}
            caller = Client(headers={"x-api-key": secret})
            return caller.post(URL, body, content_type="application/json").status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(30) as pool:
        statuses = list(pool.map(ask, range(100)))
    assert sorted(set(statuses)) == [201, 402]
    assert statuses.count(201) == Job.objects.count() == 10
    assert counted(owner) == (Decimal("4.00"), 0)
    agree()


def test_what_is_left_is_shown_of_each_budget_by_its_own_counter(owner: User, key: ApiKey) -> None:
    other_key = ApiKey.issue(owner, "another")[0]
    stranger = User.objects.create_user("bob")
    limit(owner, "10", "day")
    limit(owner, "100", "month")
    limit(owner, "5", "day", key)
    limit(owner, "7", "day", other_key)
    limit(stranger, "3", "day")
    # Each counter has another sum.
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    Spending.objects.create(owner=owner, period="day", starts_on=yesterday, reserved=11, settled=22)
    Spending.objects.create(owner=stranger, period="day", starts_on=yesterday, reserved=33)
    # The first row of all: found by a look that forgets whose it is.
    reserve(stranger, None, Decimal("3.00"))
    reserve(owner, key, Decimal("1.00"))
    settle(reserve(owner, key, Decimal("0.50")), Decimal("0.25"))
    reserve(owner, other_key, Decimal("2.00"))
    Spending.objects.filter(owner=owner, period="month", api_key=None).update(settled=900_000)
    shown = [
        (each["scope"], each["period"], each["limit"], each["reserved"], each["settled"], each["left"])
        for each in reservations.remaining(owner, key)
    ]
    assert shown == [
        ("owner", "day", "10.00", "3.00", "0.25", "6.75"),
        ("owner", "month", "100.00", "3.00", "90.00", "7.00"),
        ("key", "day", "5.00", "1.00", "0.25", "3.75"),
    ]
    assert [each["scope"] for each in reservations.remaining(owner, None)] == ["owner", "owner"]
    today = datetime.now(UTC).date()
    assert [
        datetime.fromisoformat(each["renewsAt"]).date() for each in reservations.remaining(owner, None)
    ] == [
        today + timedelta(days=1),
        (today.replace(day=1) + timedelta(days=31)).replace(day=1),
    ]
    assert reservations.remaining(stranger, None)[0]["left"] == "0.00"


@pytest.mark.parametrize(("of_key", "whose"), [(True, "this API key"), (False, "this account")])
def test_who_is_over_which_budget_is_said(owner: User, key: ApiKey, of_key: bool, whose: str) -> None:
    limit(owner, "0.50", "month", key if of_key else None)
    with pytest.raises(BudgetExceeded) as refused:
        reserve(owner, key, Decimal("0.60"))
    details = refused.value.extra
    assert whose in str(refused.value.detail)
    assert (details["scope"], details["period"], details["limit"]) == (
        "key" if of_key else "owner",
        "month",
        "0.50",
    )
    assert (details["left"], details["price"]) == ("0.50", "0.60")
    first = datetime.now(UTC).date().replace(day=1)
    renews = datetime.fromisoformat(details["renewsAt"]).date()
    assert renews == (first + timedelta(days=31)).replace(day=1)


def test_what_is_charged_counts_for_its_key(owner: User, key: ApiKey) -> None:
    limit(owner, "1", key=key)
    charged = charge(owner, key, ONE)
    charged.refresh_from_db()
    assert (charged.api_key, charged.state) == (key, "settled")
    assert counted(owner, key) == (0, ONE)
    agree()


@pytest.mark.parametrize(("amount", "units"), [("0.00005", 1), ("0.00004", 0), ("0.00015", 2), ("1", 10_000)])
def test_a_half_unit_is_a_whole_one(amount: str, units: int) -> None:
    assert counting.units(Decimal(amount)) == units
