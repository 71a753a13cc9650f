import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.http.request import MediaType
from django.test import Client
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from pytest_django import Settings

from accounts.models import Spending, User
from health.metrics import negotiation, observations, snapshot
from health.metrics.counters import Counters, counters
from health.metrics.snapshot import latest, measure_if_due
from health.models import Counter, Snapshot
from health.readiness.checker import Checker, Readiness
from tests.timeouts import TIMEOUT
from tests.videos.sending import submit_next
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.models import Heartbeat, Job, Submission
from videos.queue import heartbeats

pytestmark = pytest.mark.django_db

TOKEN = "a-token-of-monitoring"
PROMETHEUS = "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.fixture(autouse=True)
def _all_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """/ready has tests of its own, which commit."""
    monkeypatch.setattr(Checker, "readiness", lambda self: Readiness(True, {"repository": "healthy"}))


def scrape(client: Client, **headers: str) -> dict[str, dict[str, float]]:
    """Each metric's samples by their labels, as Prometheus's own parser reads them."""
    answer = client.get("/metrics?format=prometheus", headers=headers)
    assert answer.status_code == 200
    found: dict[str, dict[str, float]] = {}
    for family in parse(answer.content.decode()):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_the_figures_of_the_story(anybody: Client, job: Job, make_job: Callable[..., Job]) -> None:
    make_job()
    Job.objects.filter(pk=job.pk).update(status="cancelled")
    anybody.get("/api/v1/nothing")
    figures = anybody.get("/metrics").json()
    assert figures["jobs"] == {
        "total": 2,
        "pending": 1,
        "processing": 0,
        "completed": 0,
        "failed": 0,
        "cancelled": 1,
    }
    assert figures["api"] == {"requests": 1, "errors": 0}
    assert set(figures) == {"jobs", "api", "system"}
    assert 0 < figures["system"]["memory"]["used"] < figures["system"]["memory"]["total"]


def test_errors_are_answers_from_500_on(anybody: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checker, "readiness", lambda self: Readiness(False, {}))
    for path in ("/ready", "/api/v1/videos", "/health"):
        anybody.get(path)
    assert anybody.get("/metrics").json()["api"] == {"requests": 3, "errors": 1}


def test_jobs_are_shown_by_status_priority_and_age(anybody: Client, make_job: Callable[..., Job]) -> None:
    make_job(priority="high")
    old = make_job(priority="low")
    done = make_job()
    Job.objects.filter(pk=old.pk).update(asked_at=database_now() - timedelta(hours=1))
    Job.objects.filter(pk=done.pk).update(status="cancelled")
    found = scrape(anybody)
    assert found["takeone_jobs"]["status=pending"] == 2
    assert found["takeone_jobs"]["status=cancelled"] == 1
    assert found["takeone_queue_jobs"] == {"priority=low": 1, "priority=normal": 0, "priority=high": 1}
    assert 3600 <= found["takeone_queue_oldest_seconds"]["priority=low"] < 3660
    assert found["takeone_queue_oldest_seconds"]["priority=normal"] == 0


def test_unknown_outcomes_are_shown(anybody: Client, job: Job, upstream: Upstream) -> None:
    submit_next(upstream)
    Submission.objects.update(
        state="unknown", upstream_id=None, unknown_at=database_now() - timedelta(minutes=5)
    )
    found = scrape(anybody)
    assert found["takeone_unknown_outcomes"][""] == 1
    assert 300 <= found["takeone_unknown_outcomes_oldest_seconds"][""] < 360
    assert found["takeone_submissions"]["state=unknown"] == 1


@pytest.mark.parametrize("jobs", [1, 40])
def test_a_scrape_costs_the_same_however_many_jobs_there_are(
    anybody: Client, make_job: Callable[..., Job], django_assert_num_queries: Any, jobs: int
) -> None:
    for _ in range(jobs):
        make_job()
    measure_if_due()
    anybody.get("/metrics")
    # Flush: begin, insert, end; snapshot, clock, counters, heartbeats, providers, clock.
    with django_assert_num_queries(9) as asked:
        anybody.get("/metrics?format=prometheus")
    assert all("videos_job" not in each["sql"] for each in asked.captured_queries)
    assert all("videos_submission" not in each["sql"] for each in asked.captured_queries)


def test_counting_reads_an_index_and_keeps_to_its_share_of_time(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 3.0])
    monkeypatch.setattr(snapshot.time, "monotonic", lambda: next(times))
    assert measure_if_due()
    row = Snapshot.objects.get()
    assert row.took == 3
    assert row.measured_at is not None
    assert 149 <= (row.due_at - database_now()).total_seconds() <= 150
    assert not measure_if_due(), "it is not due yet"


def test_of_two_that_count_at_once_one_does(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[bool] = []
    whole = snapshot._count

    def count(now: Any) -> Any:
        counted.append(True)
        assert not measure_if_due(), "another one is at it"
        return whole(now)

    monkeypatch.setattr(snapshot, "_count", count)
    assert measure_if_due()
    assert counted == [True]


def test_a_reader_counts_only_what_is_cheap_when_no_worker_does(make_job: Callable[..., Job]) -> None:
    make_job()
    assert latest().figures["jobs"]["pending"] == 1
    make_job()
    assert latest().figures["jobs"]["pending"] == 1, "it is fresh"
    old = database_now() - timedelta(seconds=11)
    Snapshot.objects.update(measured_at=old, due_at=old, took=5)
    assert latest().figures["jobs"]["pending"] == 1, "counting takes too long for a reader"
    Snapshot.objects.update(took=0.1)
    assert latest().figures["jobs"]["pending"] == 2


def test_the_age_of_what_was_counted_is_shown_and_added(anybody: Client, job: Job) -> None:
    measure_if_due()
    Snapshot.objects.update(measured_at=database_now() - timedelta(seconds=100), took=5)
    found = scrape(anybody)
    assert 100 <= found["takeone_snapshot_age_seconds"][""] < 110
    assert found["takeone_queue_oldest_seconds"]["priority=normal"] >= 100


def test_answers_are_counted_by_method_route_and_status(anybody: Client, api: Client, job: Job) -> None:
    anybody.get(f"/api/v1/videos/{job.pk}")
    api.get(f"/api/v1/videos/{job.pk}")
    api.generic("INVENTED", "/nowhere/at/all")
    found = scrape(anybody)["takeone_http_requests_total"]
    route = "api/v1/videos/<uuid:pk>"
    assert found[f"method=GET,route={route},status=401"] == 1
    assert found[f"method=GET,route={route},status=200"] == 1
    assert found["method=other,route=none,status=404"] == 1
    assert str(job.pk) not in "".join(found)


def test_several_processes_add_to_the_same_numbers(anybody: Client) -> None:
    first, second = Counters(), Counters()
    for process in (first, second):
        process.add("takeone_submission_moves", {"state": "stored"}, 2)
        process.observe("takeone_stage_seconds", {"stage": "queued"}, 7, observations.STAGE_SECONDS)
        process.flush()
        process.flush()
    found = scrape(anybody)
    assert found["takeone_submission_moves_total"] == {"state=stored": 4}
    buckets = found["takeone_stage_seconds_bucket"]
    assert buckets["le=5,stage=queued"] == 0
    assert buckets["le=15,stage=queued"] == buckets["le=+Inf,stage=queued"] == 2
    assert found["takeone_stage_seconds_sum"] == {"stage=queued": 14}
    assert found["takeone_stage_seconds_count"] == {"stage=queued": 2}


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgres
def test_processes_that_flush_at_once_lose_nothing_and_do_not_deadlock() -> None:
    start = threading.Barrier(4)
    failed: list[BaseException] = []

    def process(number: int) -> None:
        mine = Counters()
        try:
            start.wait(TIMEOUT)
            for _ in range(20):
                names = [f"takeone_{each}" for each in range(20)]
                for name in names if number % 2 else reversed(names):
                    mine.add(name, {})
                mine.flush()
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=process, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert failed == []
    assert set(Counter.objects.values_list("value", flat=True)) == {80.0}


def test_what_the_database_does_not_take_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Counters()
    mine.add("takeone_submission_moves", {"state": "stored"})

    def away(*_: Any) -> None:
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr("health.metrics.counters._add", away)
        mine.flush_if_due()
        with pytest.raises(DatabaseError):
            mine.flush()
    mine.add("takeone_submission_moves", {"state": "stored"})
    mine.flush()
    assert Counter.objects.get().value == 2


def test_stages_and_outcomes_are_counted_when_a_submission_moves(
    anybody: Client, job: Job, upstream: Upstream, django_capture_on_commit_callbacks: Any
) -> None:
    Job.objects.filter(pk=job.pk).update(asked_at=database_now() - timedelta(seconds=100))
    submit_next(upstream)
    submission = Submission.objects.select_related("job").get()
    submission.rendered_at = database_now()
    submission.accepted_at = submission.rendered_at - timedelta(seconds=20)
    submission.ended_at = submission.rendered_at + timedelta(seconds=3)
    for before, after in (("sending", "rendering"), ("rendering", "rendered"), ("rendered", "stored")):
        submission.state = after
        observations.moved(submission=submission, before=before)
    found = scrape(anybody)
    assert found["takeone_stage_seconds_count"] == {
        "stage=queued": 1,
        "stage=rendering": 1,
        "stage=sending": 1,
        "stage=storing": 1,
    }
    assert 100 <= found["takeone_stage_seconds_sum"]["stage=queued"] < 130
    assert found["takeone_stage_seconds_sum"]["stage=rendering"] == pytest.approx(20)
    assert found["takeone_stage_seconds_sum"]["stage=storing"] == pytest.approx(3)


@pytest.mark.django_db(transaction=True)
def test_a_move_is_counted_once_it_is_committed(job: Job, upstream: Upstream) -> None:
    submit_next(upstream)
    counters.flush()
    moves = Counter.objects.filter(name="takeone_submission_moves")
    assert dict(moves.values_list("labels", "value")) == {'{"state":"rendering"}': 1.0}


def test_calls_to_the_upstream_are_shown(anybody: Client) -> None:
    observations.called(call="create", seconds=0.3, error="")
    observations.called(call="create", seconds=70, error="OutcomeUnknown")
    Provider.objects.create(
        name="simulator",
        failures=2,
        answered_at=database_now() - timedelta(seconds=30),
        paused_at=database_now(),
    )
    found = scrape(anybody)
    assert found["takeone_upstream_requests_total"] == {
        "call=create,outcome=answered": 1,
        "call=create,outcome=OutcomeUnknown": 1,
    }
    assert found["takeone_upstream_request_seconds_bucket"]["call=create,le=0.5"] == 1
    assert found["takeone_upstream_request_seconds_bucket"]["call=create,le=600"] == 2
    assert 30 <= found["takeone_upstream_contact_age_seconds"]["provider=simulator"] < 40
    assert found["takeone_upstream_failures_in_a_row"]["provider=simulator"] == 2
    assert found["takeone_upstream_blocked"] == {
        "provider=simulator,reason=paused": 1,
        "provider=simulator,reason=stopped": 0,
        "provider=simulator,reason=unrecognized": 0,
    }


def test_heartbeats_are_shown(anybody: Client) -> None:
    heartbeats.record(Heartbeat.Role.WORKER, worked=True)
    heartbeats.record(Heartbeat.Role.BEAT, worked=False)
    assert set(scrape(anybody)["takeone_heartbeat_age_seconds"]) == {
        "kind=alive,role=worker",
        "kind=worked,role=worker",
        "kind=alive,role=beat",
    }


@pytest.fixture
def spent(owner: User) -> None:
    today = database_now().date()
    for period, starts_on in (("day", today), ("month", today.replace(day=1))):
        Spending.objects.create(owner=owner, period=period, starts_on=starts_on, reserved=5000, settled=25000)
    Spending.objects.create(owner=owner, period="day", starts_on=today - timedelta(days=40), settled=10)


@pytest.mark.usefixtures("spent")
def test_money_is_shown_to_a_bearer_of_the_token_alone(anybody: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = TOKEN
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert "takeone_spending_dollars" not in scrape(anybody)
    assert "spending" not in anybody.get("/metrics").json()
    assert scrape(anybody, **bearer)["takeone_spending_dollars"] == {
        "kind=reserved,period=day": 0.5,
        "kind=settled,period=day": 2.5,
        "kind=reserved,period=month": 0.5,
        "kind=settled,period=month": 2.5,
    }
    assert anybody.get("/metrics", headers=bearer).json()["spending"]["day"] == {
        "reserved": "0.5",
        "settled": "2.5",
    }


@pytest.mark.parametrize("given", ["Bearer another-token-of-it", f"Basic {TOKEN}", "Bearer ", "Bearer ü"])
def test_another_token_is_refused(anybody: Client, settings: Settings, given: str) -> None:
    settings.METRICS_TOKEN = TOKEN
    answer = anybody.get("/metrics", headers={"authorization": given})
    assert answer.status_code == 401
    assert TOKEN not in answer.content.decode()


@pytest.mark.usefixtures("spent")
@pytest.mark.parametrize("given", ["Bearer ", "Bearer anything", ""])
def test_without_a_token_in_the_settings_nobody_sees_money(
    anybody: Client, settings: Settings, given: str
) -> None:
    settings.METRICS_TOKEN = ""
    answer = anybody.get("/metrics", headers={"authorization": given})
    assert answer.status_code == 200
    assert "spending" not in answer.json()


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("text/plain", "text/plain"),
        (PROMETHEUS, "text/plain"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5,*/*;q=0.1",
            "application/openmetrics-text",
        ),
        ("text/plain;q=0.2,application/json;q=0.9", "application/json"),
        ("text/plain;q=nonsense", "text/plain"),
        ("nonsense", "application/json"),
    ],
)
def test_the_accept_header_decides_the_form(anybody: Client, accept: str, content_type: str) -> None:
    answer = anybody.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer["Content-Type"].split(";")[0] == content_type
    if content_type == "application/openmetrics-text":
        assert list(parse_openmetrics(answer.content.decode()))


@pytest.mark.parametrize("form", ["", "?format=prometheus"])
def test_a_long_accept_header_costs_little(
    anybody: Client, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    looked_at = []

    class Counted(MediaType):
        def __init__(self, media_type: str) -> None:
            looked_at.append(media_type)
            super().__init__(media_type)

    monkeypatch.setattr(negotiation, "MediaType", Counted)
    answer = anybody.get(f"/metrics{form}", headers={"accept": "a/b," * 16_000})
    assert answer.status_code == 200
    assert len(looked_at) < 5_000


def test_the_format_wins_over_the_accept_header(anybody: Client) -> None:
    plain = anybody.get("/metrics?format=prometheus", headers={"accept": "application/json"})
    assert plain["Content-Type"].startswith("text/plain")
    assert anybody.get("/metrics?format=json", headers={"accept": "text/plain"}).json()["jobs"]
    assert anybody.get("/metrics?format=xml").status_code == 400
    assert anybody.get("/metrics?format=json&format=prometheus").status_code == 400


def test_without_a_database_a_scrape_says_so(anybody: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(Checker, "readiness", lambda self: Readiness(False, {"repository": "unhealthy: no"}))
    monkeypatch.setattr("health.metrics.figures.counters.flush", away)
    found = scrape(anybody)
    assert found["takeone_ready"][""] == 0
    assert found["takeone_check_healthy"] == {"check=repository": 0}
    assert "takeone_jobs" not in found
    assert anybody.get("/metrics").status_code == 503
