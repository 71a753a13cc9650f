"""What an account's jobs came to, what one more would cost, and how many it may have."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from accounts.budgets.reservations import left_of
from accounts.models import ApiKey, Budget, User
from tests.api.test_create import post, problem
from tests.configured import configure
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from upstreams.client import errors
from upstreams.models import Provider
from upstreams.offer.request import VideoRequest
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.create import QueueFull, create
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import retry
from videos.models import Job
from videos.queue.dispatch import all_due_work

pytestmark = pytest.mark.django_db

URL = "/api/v1/videos"
USAGE = "/api/v1/usage"


def usage(api: Client, **query: str) -> dict[str, Any]:
    response = api.get(USAGE, query)
    assert response.status_code == 200, response.content
    return dict(response.json()["data"])


def rendered(upstream: Upstream, sora: ScriptedClient) -> None:
    """Sends the next job, and finishes what is upstream."""
    submit_next(upstream)
    for video in list(sora.videos.values()):
        sora.complete(video.id)
    sweep(upstream)


def test_usage_is_counted_by_day_key_model_and_status(
    api: Client, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    post(api, {"prompt": "one"})
    rendered(upstream, sora)
    post(api, {"prompt": "two", "duration": 8})
    found = usage(api)
    today = datetime.now(UTC).date().isoformat()
    key = ApiKey.objects.get()
    its = {"id": str(key.pk), "name": key.name, "prefix": key.prefix}
    row = {"day": today, "key": its, "model": "sora-2", "jobs": 1}
    assert found["rows"] == [
        row | {"status": "pending", "settled": "0.00", "reserved": "0.80"},
        row | {"status": "processing", "settled": "0.40", "reserved": "0.00"},
    ]
    assert found["currency"] == "USD"
    assert (found["until"], found["budgets"]) == (today, [])


def test_usage_is_grouped_as_asked_and_adds_up_over_attempts(
    api: Client, job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, replace(upstream, bills_failed=True))
    submit_next(upstream)
    sora.fail(str(job.submissions.get().upstream_id))
    sweep(upstream)
    retry(Job.objects.get())
    rendered(upstream, sora)
    post(api, {"prompt": "another"})
    assert usage(api, by="model")["rows"] == [
        {"model": "sora-2", "jobs": 2, "settled": "0.80", "reserved": "0.40"}
    ]
    by_status = usage(api, by="status, status")["rows"]
    assert [(row["status"], row["jobs"]) for row in by_status] == [("pending", 1), ("processing", 1)]


def test_usage_by_key_agrees_with_the_keys_budgets_after_a_retry_with_another(
    owner: User, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch, api: Client
) -> None:
    configure(monkeypatch, replace(upstream, bills_failed=True))
    first, second = (ApiKey.issue(owner, name)[0] for name in ("first", "second"))
    job = create(VideoRequest(prompt="boat"), owner=owner, api_key=first)
    submit_next(upstream)
    sora.fail(str(job.submissions.get().upstream_id))
    sweep(upstream)

    def by_key() -> dict[str | None, tuple[int, str, str]]:
        rows = usage(api, by="key")["rows"]
        return {
            row["key"] and row["key"]["name"]: (row["jobs"], row["settled"], row["reserved"]) for row in rows
        }

    def spent(key: ApiKey) -> tuple[str | None, str | None]:
        left = left_of(Budget(owner=owner, api_key=key, period="day", limit=Decimal(9)))
        return left["settled"], left["reserved"]

    retry(Job.objects.get(), api_key=second)
    assert by_key() == {"first": (0, "0.40", "0.00"), "second": (1, "0.00", "0.40")}
    submit_next(upstream)
    assert by_key() == {"first": (0, "0.40", "0.00"), "second": (1, "0.00", "0.40")}
    assert (spent(first), spent(second)) == (("0.40", "0.00"), ("0.00", "0.40"))
    rendered(upstream, sora)
    assert by_key() == {"first": (0, "0.40", "0.00"), "second": (1, "0.40", "0.00")}
    assert (spent(first), spent(second)) == (("0.40", "0.00"), ("0.40", "0.00"))


def test_what_a_person_had_retried_is_no_keys_money(
    owner: User, upstream: Upstream, api: Client, sora: ScriptedClient
) -> None:
    key = ApiKey.issue(owner, "first")[0]
    cancel(create(VideoRequest(prompt="boat"), owner=owner, api_key=key))
    retry(Job.objects.get())
    Job.objects.update(api_key=key)

    def rows() -> list[tuple[Any, ...]]:
        found = usage(api, by="key")["rows"]
        return [
            (row["key"] and row["key"]["name"], row["jobs"], row["settled"], row["reserved"]) for row in found
        ]

    assert rows() == [(None, 0, "0.00", "0.40"), ("first", 1, "0.00", "0.00")]
    rendered(upstream, sora)
    assert rows() == [(None, 0, "0.40", "0.00"), ("first", 1, "0.00", "0.00")]


def test_usage_is_the_callers_own_and_of_its_days(
    api: Client, make_job: Callable[..., Job], settings: Settings
) -> None:
    make_job(by=User.objects.create_user("bob"))
    old = make_job()
    Job.objects.filter(pk=old.pk).update(created_at=datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC))
    assert usage(api)["rows"] == []
    found = usage(api, since="2026-03-01", until="2026-03-01", by="day")["rows"]
    assert found == [{"day": "2026-03-01", "jobs": 1, "settled": "0.00", "reserved": "0.40"}]
    assert usage(api, since="2026-03-02", until="2026-03-31")["rows"] == []
    assert usage(api, since="9999-12-01", until="9999-12-31")["rows"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"by": "color"}, "by"),
        ({"by": ""}, "by"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-02-02", "until": "2026-02-01"}, "since"),
        ({"since": "2020-01-01", "until": "2026-01-01"}, "since"),
        ({"day": "2026-01-01"}, "day"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(api: Client, query: dict[str, str], field: str) -> None:
    response = api.get(USAGE, query)
    assert response.status_code == 400
    assert [each["field"] for each in problem(response)["details"]] == [field]


def test_usage_shows_what_budgets_have_left(api: Client, owner: User, make_job: Callable[..., Job]) -> None:
    make_job()
    Budget.objects.create(owner=owner, period="day", limit=Decimal("1.00"))
    (left,) = usage(api)["budgets"]
    assert (left["scope"], left["period"], left["limit"], left["left"]) == ("owner", "day", "1.00", "0.60")
    midnight = datetime.now(UTC).date() + timedelta(days=1)
    assert left["renewsAt"] == f"{midnight.isoformat()}T00:00:00.000Z"


def test_an_estimate_says_what_a_create_would_send_and_cost_and_creates_nothing(api: Client) -> None:
    body = {"prompt": "boat", "duration": 10, "model": "sora-2-pro"}
    response = post_to(api, f"{URL}/estimate", body)
    assert response.status_code == 200
    said = response.json()["data"]
    assert said["estimatedCost"] == "3.60"
    assert said["submitted"] == {"model": "sora-2-pro", "seconds": "12", "size": "1280x720"}
    assert [each["field"] for each in said["adjustments"]] == ["duration"]
    assert not Job.objects.exists()
    created = post(api, body).json()["data"]
    assert (created["estimatedCost"], created["adjustments"]) == (said["estimatedCost"], said["adjustments"])


def post_to(api: Client, url: str, body: dict[str, Any]) -> Any:
    return api.post(url, body, content_type="application/json")


def test_an_estimate_of_nonsense_is_refused_as_its_create_is(api: Client) -> None:
    response = post_to(api, f"{URL}/estimate", {"duration": 99})
    assert response.status_code == 400
    assert {each["field"] for each in problem(response)["details"]} == {"prompt", "duration"}


def test_an_owner_may_have_so_many_waiting_jobs(
    api: Client, settings: Settings, upstream: Upstream, make_job: Callable[..., Job]
) -> None:
    settings.MAX_QUEUED_JOBS = 2
    make_job(by=User.objects.create_user("bob"))
    assert [post(api, {"prompt": f"boat {n}"}).status_code for n in range(3)] == [201, 201, 429]
    refused = post(api, {"prompt": "boat"})
    assert problem(refused)["code"] == "queue_full"
    assert int(refused["Retry-After"]) > 0
    cancel(Job.objects.filter(owner__username="ada")[0])
    assert post(api, {"prompt": "boat"}).status_code == 201
    with pytest.raises(QueueFull):
        retry(Job.objects.get(status="cancelled"))


def test_an_owner_may_have_so_many_jobs_upstream(
    make_job: Callable[..., Job], settings: Settings, upstream: Upstream, owner: User
) -> None:
    settings.MAX_IN_FLIGHT_JOBS = 1
    bob = User.objects.create_user("bob")
    for _ in range(2):
        make_job()
    late = make_job(by=bob)
    assert submit_next(upstream)
    assert submit_next(upstream)
    assert not submit_next(upstream)
    late.refresh_from_db()
    assert late.status == "processing", "another owner's jobs do not hold it up"
    assert Job.objects.filter(owner=owner, status="processing").count() == 1


def test_an_operator_stops_all_new_submissions_and_nothing_else(
    job: Job, make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_PROVIDER = upstream.name
    submit_next(upstream)
    waiting = make_job()
    call_command("stop_provider", "--reason", "a wrong price", verbosity=0)
    assert not submit_next(upstream)
    assert "submit" not in [work.task for work in all_due_work()]
    sora.complete(str(job.submissions.get().upstream_id))
    sweep(upstream)
    assert job.submissions.get().state == "rendered"
    waiting.refresh_from_db()
    assert waiting.status == "pending"
    call_command("resume_provider", verbosity=0)
    assert Provider.objects.get().stopped_at is None
    assert submit_next(upstream)


def test_an_unknown_provider_cannot_be_stopped(upstream: Upstream) -> None:
    upstream.provider()
    with pytest.raises(CommandError, match="there are: scripted"):
        call_command("stop_provider", "elsewhere", "--reason", "x")


def test_a_wrong_key_upstream_reserves_nothing_more(
    api: Client, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = lambda _: (_ for _ in ()).throw(errors.Misconfigured("401", status=401))
    post(api, {"prompt": "boat"})
    submit_next(upstream)
    assert usage(api, by="status")["rows"] == [
        {"status": "pending", "jobs": 1, "settled": "0.00", "reserved": "0.40"}
    ]
