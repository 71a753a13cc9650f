import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from pytest_django import Settings

from tests.configured import configure
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import claim_next, send, submit_next
from tests.videos.test_submit import only, raising
from upstreams.breaker import respecting_retry_after
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.clock import database_now, shifted
from upstreams.models import Call, Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.poll import UpstreamUnavailable, ask, ask_now
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission
from videos.queue.attend import Due, attend, due_rows
from videos.queue.dispatch import all_due_work, probe
from videos.queue.providers import resume
from videos.reconciliation.audit import audit_if_due

pytestmark = pytest.mark.django_db

MakeJob = Callable[..., Job]


@pytest.fixture
def upstream(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    wide = replace(upstream, concurrency=1000)
    configure(monkeypatch, wide)
    return wide


@pytest.mark.parametrize("limit", [1, 2, 12])
def test_no_minute_holds_more_creates_than_the_limit(
    make_job: MakeJob,
    upstream: Upstream,
    sora: ScriptedClient,
    settings: Settings,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream = replace(upstream, requests_per_minute=limit)
    configure(monkeypatch, upstream)
    for _ in range(limit + 3):
        make_job()
    for seconds in range(130):
        with shifted(timedelta(seconds=seconds)):
            while submit_next(upstream):
                pass
    # By the database's clock, which also runs while this test does.
    sent_at = [submission.created_at for submission in Submission.objects.all()]
    assert sent_at
    minute = timedelta(seconds=60)
    for begin in sent_at:
        assert sum(begin <= each < begin + minute for each in sent_at) <= limit


def test_the_limit_is_used(
    make_job: MakeJob,
    upstream: Upstream,
    sora: ScriptedClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream = replace(upstream, requests_per_minute=12)
    configure(monkeypatch, upstream)
    for _ in range(20):
        make_job()
    for seconds in range(60):
        with shifted(timedelta(seconds=seconds)):
            while submit_next(upstream):
                pass
    assert len(sora.creates) >= 11


def test_turns_that_were_not_used_are_not_saved_up(
    make_job: MakeJob,
    upstream: Upstream,
    sora: ScriptedClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream = replace(upstream, requests_per_minute=3)
    configure(monkeypatch, upstream)
    for _ in range(6):
        make_job()
    assert submit_next(upstream)
    with shifted(timedelta(hours=1)):
        while submit_next(upstream):
            pass
    assert len(sora.creates) <= 1 + 3


def test_a_claim_that_finds_no_job_consumes_no_token(
    make_job: MakeJob, upstream: Upstream, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = replace(upstream, requests_per_minute=1)
    configure(monkeypatch, upstream)
    for _ in range(3):
        assert claim_next(upstream) is None
    make_job()
    assert claim_next(upstream) is not None


def failing(make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, creates: int) -> None:
    sora.before = raising(errors.OutcomeUnknown("500", answered=True))
    for _ in range(creates):
        make_job()
        assert submit_next(upstream)


def test_creates_that_fail_in_a_row_open_the_breaker(
    make_job: MakeJob,
    upstream: Upstream,
    sora: ScriptedClient,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.SORA_BREAKER_FAILURES = 3
    failing(make_job, upstream, sora, 3)
    make_job()
    assert not submit_next(upstream)
    assert "3 creates in a row have failed" in caplog.text
    assert Provider.objects.get().sending_backoff_reason == "500"


def test_an_open_breaker_lets_one_at_a_time_try(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_BREAKER_FAILURES = 3
    failing(make_job, upstream, sora, 3)
    make_job(), make_job()
    with shifted(timedelta(seconds=10)):
        assert claim_next(upstream) is not None
        assert claim_next(upstream) is None


def test_an_accepted_create_closes_the_breaker(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_BREAKER_FAILURES = 3
    failing(make_job, upstream, sora, 3)
    sora.before = None
    make_job(), make_job(), make_job()
    with shifted(timedelta(seconds=10)):
        assert submit_next(upstream)
        provider = Provider.objects.get()
        assert (provider.failures, provider.sending_backoff_reason) == (0, "")
        assert claim_next(upstream) is not None
        assert claim_next(upstream) is not None


def test_the_breaker_stays_open_longer_with_each_failure_and_not_for_ever(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_BREAKER_FAILURES = 1
    sora.before = raising(errors.OutcomeUnknown("500", answered=True))
    made, tried = 0, []
    for seconds in range(0, 3600, 10):
        with shifted(timedelta(seconds=seconds)):
            if made <= len(tried):
                make_job()
                made += 1
            if submit_next(upstream):
                tried.append(seconds)
    assert 10 < len(tried) < 30
    assert max(later - earlier for earlier, later in itertools.pairwise(tried)) <= 310


def test_an_open_breaker_stops_neither_reconciling_nor_sweeping(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_BREAKER_FAILURES = 1
    make_job()
    submit_next(upstream)
    failing(make_job, upstream, sora, 1)
    with shifted(timedelta(seconds=2.5)):
        due = all_due_work()
        assert {work.task for work in due} == {"sweep", "attend"}
        for work in due:
            if work.kind is not None:
                attend(upstream, work.kind)
    assert sora.lists == 1


def test_failures_that_are_not_in_a_row_open_nothing(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_BREAKER_FAILURES = 3
    for _ in range(3):
        failing(make_job, upstream, sora, 2)
        sora.before = None
        make_job()
        assert submit_next(upstream)
    assert Provider.objects.get().failures == 0


def backoff_left() -> float:
    sending_backoff_until = Provider.objects.get().sending_backoff_until
    assert sending_backoff_until is not None
    return (sending_backoff_until - database_now()).total_seconds()


@pytest.mark.parametrize(
    "sooner", [errors.NotSent("refused"), errors.Busy("429", retry_after=5), errors.OutcomeUnknown("500")]
)
def test_a_backoff_is_made_longer_and_never_shorter(
    make_job: MakeJob,
    upstream: Upstream,
    sora: ScriptedClient,
    settings: Settings,
    sooner: errors.SoraError,
) -> None:
    settings.SORA_BREAKER_FAILURES = 3
    jobs = [make_job() for _ in range(3)]
    claimed = [claim_next(upstream) for _ in jobs]
    answers = (errors.Busy("429", retry_after=600), sooner, errors.Busy("again", retry_after=1200))
    for submission, answer, least in zip(claimed, answers, (600, 600, 1200), strict=True):
        assert submission is not None
        sora.before = raising(answer)
        send(submission, upstream)
        assert backoff_left() > least - 10
    assert Provider.objects.get().sending_backoff_reason == "again"


def test_an_open_breaker_makes_no_backoff_shorter(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_BREAKER_FAILURES = 2
    make_job(), make_job()
    first, second = claim_next(upstream), claim_next(upstream)
    assert first is not None
    assert second is not None
    sora.before = raising(errors.Busy("429", retry_after=600))
    send(first, upstream)
    sora.before = raising(errors.OutcomeUnknown("500", answered=True))
    second.provider.refresh_from_db()
    send(second, upstream)
    assert backoff_left() > 590


def test_an_operator_ends_a_backoff(make_job: MakeJob, upstream: Upstream, sora: ScriptedClient) -> None:
    make_job()
    sora.before = raising(errors.Busy("429", retry_after=600))
    submit_next(upstream)
    Provider.objects.update(list_backoff_until=database_now() + timedelta(hours=1))
    said = resume(upstream.name)
    assert [each.split(" until ")[0] for each in said] == ["backing off", "no list call"]
    provider = Provider.objects.get()
    assert provider.takes_creates()
    assert not provider.backoff_seconds(Call.LIST)


def test_a_create_of_unknown_outcome_backs_off_as_long_as_the_upstream_asks(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    make_job(), make_job()
    sora.before = raising(errors.OutcomeUnknown("503", answered=True, retry_after=600))
    assert submit_next(upstream)
    with shifted(timedelta(seconds=590)):
        assert not submit_next(upstream)
    with shifted(timedelta(seconds=670)):
        assert submit_next(upstream)


def work(upstream: Upstream, later: float) -> list[str]:
    """What the workers are given to do then, and do."""
    with shifted(timedelta(seconds=later)):
        given = all_due_work()
        for due in given:
            if due.task == "sweep":
                sweep(upstream)
            elif due.kind is not None:
                attend(upstream, due.kind)
    return [due.task for due in given]


def alone() -> errors.SoraError:
    return errors.Busy("429", retry_after=600)


@pytest.mark.parametrize("error", [errors.Busy, errors.Unavailable])
@pytest.mark.parametrize(
    ("call", "before", "after"),
    [
        ("look for it", "unknown", "absent"),
        ("sweep", "rendering", "rendered"),
        ("ask", "rendering", "rendered"),
        ("fetch", "rendered", "stored"),
        ("drop", "dropping", "dropped"),
    ],
)
def test_an_upstream_that_wants_to_be_left_alone_is_asked_nothing_until_then(
    job: Job,
    upstream: Upstream,
    sora: ScriptedClient,
    call: str,
    before: str,
    after: str,
    error: Callable[..., errors.SoraError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if call == "look for it":
        sora.before = raising(errors.OutcomeUnknown("timeout"))
    if call == "drop":
        upstream = replace(upstream, dialect=replace(OPENAI, cancels=True))
        configure(monkeypatch, upstream)
    submit_next(upstream)
    if call == "fetch":
        sora.complete(str(only(job).upstream_id))
        sweep(upstream)
    if call == "drop":
        cancel(job)
    wanted = error("later", retry_after=600)
    sora.hidden = set(sora.videos) if call == "ask" else set()
    sora.list_error = wanted if call in {"look for it", "sweep"} else None
    sora.retrieve_error = sora.delete_error = wanted
    sora.content = wanted
    assert work(upstream, 15.5)
    asked = sora.lists, sora.retrieves
    sora.list_error = sora.retrieve_error = sora.delete_error = None
    sora.content = b""
    for video_id in sora.videos:
        sora.complete(video_id)
    for later in (16, 60, 610):
        given = {*work(upstream, later)}
        # The list, which shows nothing of it, was not refused: other kinds of calls go on.
        assert not given & ({"attend"} if call == "ask" else {"sweep", "attend"})
        with shifted(timedelta(seconds=later)):
            # A message that was on its way.
            for kind in Due:
                attend(upstream, kind)
            sweep(upstream)
            audit_if_due(upstream)
        assert only(job).state == before
    assert (sora.lists if call != "ask" else asked[0], sora.retrieves) == asked
    work(upstream, 700)
    assert only(job).state == after


def test_the_audit_and_the_probe_leave_it_alone_as_well(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.AUDIT_SECONDS = 10
    upstream.provider()
    sora.list_error = alone()
    with shifted(timedelta(seconds=11)):
        audit_if_due(upstream)
        assert Provider.objects.get().backoff_seconds(Call.LIST) > 590
    now = database_now()
    Provider.objects.update(paused_at=now, probe_due_at=now)
    for later in (30, 600):
        with shifted(timedelta(seconds=later)):
            audit_if_due(upstream)
            probe(upstream)
    assert (sora.lists, sora.probes) == (1, 0)


def test_a_probe_respects_retry_after(job: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    sora.before = raising(errors.Misconfigured("401", status=401))
    submit_next(upstream)
    sora.probe_error = alone()
    with shifted(timedelta(seconds=10)):
        probe(upstream)
    with shifted(timedelta(seconds=600)):
        probe(upstream)
    assert sora.probes == 1


def test_creates_go_on_while_nothing_is_asked(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    make_job()
    submit_next(upstream)
    sora.list_error = sora.retrieve_error = alone()
    assert work(upstream, 2) == ["sweep"]
    make_job()
    assert work(upstream, 3) == ["submit"] * 4
    with shifted(timedelta(seconds=3)):
        assert submit_next(upstream)


def test_no_upstream_is_left_alone_for_ever_nor_for_less_than_it_asked_before(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    sora.list_error = errors.Unavailable("503", retry_after=1e9)
    work(upstream, 2)
    left = Provider.objects.get().backoff_seconds(Call.LIST)
    assert 3590 < left < 4000
    # One that was asked side by side.
    sora.retrieve_error = errors.Unavailable("503", retry_after=5)
    with pytest.raises(errors.Unavailable):
        ask(only(job), upstream)
    assert Provider.objects.get().backoff_seconds(Call.LIST) > left - 10


def test_a_caller_who_asks_for_a_sync_then_is_told_when_to_ask_again(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    job.refresh_from_db()
    sora.list_error = sora.retrieve_error = alone()
    work(upstream, 2)
    asked = sora.retrieves
    with pytest.raises(UpstreamUnavailable) as raised:
        ask_now(job)
    assert raised.value.wait > 500
    assert sora.retrieves == asked


def test_polling_one_by_one_stops_at_the_first_retry_after(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    for _ in range(5):
        make_job()
        submit_next(upstream)
    sora.hidden = set(sora.videos)
    sora.retrieve_error = alone()
    work(upstream, 5)
    assert sora.retrieves == 1


def test_a_list_that_asks_to_wait_stops_no_fetch(job: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    sora.list_error = errors.Busy("429", retry_after=7200)
    with pytest.raises(errors.Busy), respecting_retry_after(upstream, Call.LIST):
        sora.list()
    work(upstream, 1)
    assert Job.objects.get().status == "completed"


def test_while_the_list_asks_to_wait_renders_are_asked_after_one_by_one(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    jobs = [make_job(), make_job()]
    for _ in jobs:
        submit_next(upstream)
    sora.list_error = errors.Busy("429", retry_after=7200)
    work(upstream, 2)
    lists = sora.lists
    for video_id in sora.videos:
        sora.complete(video_id)
    for later in (30, 60, 90):
        work(upstream, later)
    assert [only(each).state for each in jobs] == ["stored", "stored"]
    assert sora.lists == lists == 1


def test_a_wait_of_ours_is_no_silence_of_the_upstream(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    job = make_job()
    submit_next(upstream)
    Provider.objects.update(list_backoff_until=database_now() + timedelta(hours=1))
    sora.retrieve_error = alone()
    Submission.objects.update(due_at=database_now() + timedelta(hours=1))
    with shifted(timedelta(seconds=60)):
        sweep(upstream)
    assert only(job).silent_since is None, "nobody has asked after it"


@pytest.mark.parametrize(("minutes", "state"), [(5, "stored"), (68, "stored"), (180, "rendered")])
def test_a_file_that_is_about_to_expire_is_fetched_whatever_the_upstream_asked(
    job: Job, upstream: Upstream, sora: ScriptedClient, minutes: int, state: str
) -> None:
    submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    sora.content = errors.Busy("429", retry_after=3600)
    work(upstream, 0)
    assert only(job).state == "rendered"
    Submission.objects.update(expires_at=database_now() + timedelta(minutes=minutes))
    sora.content = b""
    work(upstream, 60)
    assert only(job).state == state


def test_files_are_fetched_in_the_order_in_which_they_expire(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    jobs = [make_job() for _ in range(3)]
    for _ in jobs:
        submit_next(upstream)
    for video_id in sora.videos:
        sora.complete(video_id)
    sweep(upstream)
    for job, minutes in zip(jobs, (None, 30, 20), strict=True):
        ends = database_now() + timedelta(minutes=minutes) if minutes else None
        Submission.objects.filter(job=job).update(expires_at=ends)
    due = due_rows(upstream, upstream.provider(), Due.FILES)
    assert list(due) == [only(job) for job in reversed(jobs)]


@pytest.mark.parametrize("retry_after", [0.0, 0.001])
def test_an_upstream_that_is_busy_for_no_time_is_not_asked_at_once_again(
    retry_after: float, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.Busy("busy", retry_after=retry_after))
    assert submit_next(upstream)
    assert not submit_next(upstream)
    assert job.submissions.count() == 1
    with shifted(timedelta(seconds=1.5)):
        assert submit_next(upstream)
