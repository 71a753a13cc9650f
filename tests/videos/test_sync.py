import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.budgets.counting import count_some
from accounts.models import Spending
from tests.configured import configure
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import claim_next, submit_next
from tests.videos.test_submit import only
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.client.types import CreateRequest, Phase, Video, VideoPage
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.poll import ask, ask_late
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission, locked
from videos.queue.attend import Due, attend, due_rows
from videos.queue.dispatch import all_due_work

pytestmark = pytest.mark.django_db


@pytest.fixture
def rendering(job: Job, upstream: Upstream) -> Submission:
    submit_next(upstream)
    return only(job)


def upstream_id(submission: Submission) -> str:
    assert submission.upstream_id is not None
    return submission.upstream_id


def after_sweep(submission: Submission, upstream: Upstream) -> tuple[Job, Submission]:
    sweep(upstream)
    submission.refresh_from_db()
    return Job.objects.get(pk=submission.job_id), submission


def test_progress_follows_the_upstream_and_never_goes_back(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    for said, shown in ((30, 30), (20, 30), (None, 30), (99, 99), (100, 99)):
        sora.set(upstream_id(rendering), Phase.RUNNING, progress=said)
        job, _ = after_sweep(rendering, upstream)
        assert (job.status, job.progress) == ("processing", shown)


def test_an_unchanged_render_is_not_written(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.set(upstream_id(rendering), Phase.RUNNING, progress=30)
    before, _ = after_sweep(rendering, upstream)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        after, _ = after_sweep(rendering, upstream)
    assert after.updated_at == before.updated_at
    assert not [q for q in queries if 'UPDATE "videos_job"' in str(q["sql"])]


def test_a_sweep_asks_by_pages_and_not_one_by_one(
    make_job: Callable[..., Job], sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.videos.scripted.PAGE", 25)
    upstream = replace(scripted(concurrency=500), client=sora)  # type: ignore[arg-type]
    configure(monkeypatch, upstream)
    for _ in range(40):
        make_job()
        submit_next(upstream)
    for video_id in sora.videos:
        sora.set(video_id, Phase.RUNNING, progress=10)
    with shifted(timedelta(seconds=5)), CaptureQueriesContext(connection) as queries:
        sweep(upstream)
    assert (sora.lists, sora.retrieves) == (2, 0)
    assert Job.objects.filter(progress=10).count() == 40
    # Outside of tests the clock is read twice a second at most.
    asked = [str(each["sql"]) for each in queries]
    assert len([each for each in asked if not re.match("SELECT (clock_timestamp|strftime)", each)]) < 20


def test_a_sweep_stops_where_its_oldest_render_begins(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    old = database_now() - timedelta(hours=1)
    for number in range(300):
        sora.add(CreateRequest(f"old {number}", "sora-2", "4", "1280x720"), created_at=old)
    sora.hidden = {upstream_id(rendering)}
    with shifted(timedelta(seconds=2)):
        sweep(upstream)
    assert sora.lists == 1
    assert sora.retrieves == 1, "what the list does not show is asked for by itself"


def test_overlapping_sweeps_ask_once(rendering: Submission, upstream: Upstream, sora: ScriptedClient) -> None:
    Provider.objects.update(sweep_due_at=database_now() + timedelta(seconds=60))
    sweep(upstream)
    assert sora.lists == 0
    with shifted(timedelta(seconds=61)):
        sweep(upstream)
    assert sora.lists == 1


def test_a_finished_render_is_settled_and_due_to_be_fetched(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.complete(upstream_id(rendering))
    job, submission = after_sweep(rendering, upstream)
    assert (job.status, submission.state, submission.cost_state) == ("processing", "rendered", "settled")
    assert submission.due_at is not None
    assert submission.due_at <= database_now()
    assert submission.expires_at is not None


@pytest.mark.parametrize(("bills", "cost"), [(False, "released"), (True, "settled")])
def test_a_failed_render_fails_the_job_with_the_upstreams_reason(
    rendering: Submission,
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    bills: bool,
    cost: str,
) -> None:
    configure(monkeypatch, replace(upstream, bills_failed=bills))
    sora.fail(upstream_id(rendering))
    job, submission = after_sweep(rendering, upstream)
    assert (job.status, job.error_code, job.error_message) == (
        "failed",
        "moderation_blocked",
        "Your request was blocked.",
    )
    assert (submission.state, submission.cost_state) == ("failed", cost)


def test_a_render_that_the_upstream_cancelled_cancels_the_job(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.set(upstream_id(rendering), Phase.CANCELLED)
    job, submission = after_sweep(rendering, upstream)
    assert (job.status, submission.state, submission.cost_state) == ("cancelled", "failed", "released")


def test_a_render_that_expired_fails_the_job(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.set(upstream_id(rendering), Phase.EXPIRED)
    job, submission = after_sweep(rendering, upstream)
    assert (job.status, job.error_code, submission.state) == ("failed", "upstream_expired", "failed")


def test_a_poll_that_fails_is_no_failure_of_the_job(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.list_error = errors.Unavailable("502")
    job, submission = after_sweep(rendering, upstream)
    assert (job.status, submission.state) == ("processing", "rendering")
    assert submission.due_at is not None
    assert submission.due_at > database_now()


@pytest.fixture
def another(rendering: Submission, make_job: Callable[..., Job], upstream: Upstream) -> Submission:
    """A render that the upstream goes on showing: it is the one that we know."""
    job = make_job()
    assert submit_next(upstream)
    return only(job)


def test_an_id_that_is_missing_three_times_over_two_minutes_is_lost(
    rendering: Submission, another: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    del sora.videos[upstream_id(rendering)]
    for seconds in (2, 30, 63, 90):
        with shifted(timedelta(seconds=seconds)):
            job, submission = after_sweep(rendering, upstream)
            assert (job.status, submission.state) == ("processing", "rendering"), seconds
    assert sora.retrieves == 2, "it is asked after once a minute"
    with shifted(timedelta(seconds=124)):
        job, submission = after_sweep(rendering, upstream)
    assert (job.status, job.error_code) == ("failed", "upstream_lost")
    assert (submission.state, submission.cost_state) == ("lost", "settled")
    another.refresh_from_db()
    assert another.state == "rendering"


def test_three_looks_in_a_row_do_not_lose_a_render(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.videos.clear()
    for _ in range(4):
        ask(only(rendering.job), upstream)
    assert only(rendering.job).state == "rendering"


def test_an_id_that_is_seen_again_was_not_missing(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    kept = dict(sora.videos)
    for seconds, known in ((2, False), (63, False), (124, True), (130, False), (191, False)):
        sora.videos = dict(kept) if known else {}
        with shifted(timedelta(seconds=seconds)):
            _, submission = after_sweep(rendering, upstream)
        assert submission.state == "rendering", seconds


def test_two_looks_do_not_lose_a_render_however_far_apart(
    rendering: Submission, another: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    del sora.videos[upstream_id(rendering)]
    for seconds, state in ((2, "rendering"), (600, "rendering"), (661, "lost")):
        with shifted(timedelta(seconds=seconds)):
            _, submission = after_sweep(rendering, upstream)
        assert submission.state == state, seconds


def test_a_server_without_a_list_is_asked_one_by_one(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(replace(OPENAI, lists=False))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    make_job()
    submit_next(upstream)
    sora.complete(next(iter(sora.videos)))
    with shifted(timedelta(seconds=2)):
        sweep(upstream)
    assert (sora.lists, sora.retrieves) == (0, 1)
    assert Submission.objects.get().state == "rendered"


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.FAILED, Phase.EXPIRED, Phase.CANCELLED])
def test_a_render_that_ends_after_its_job_was_cancelled_is_dropped_and_settled_as_it_ended(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, phase: Phase
) -> None:
    cancel(rendering.job)
    sora.set(upstream_id(rendering), phase)
    job, submission = after_sweep(rendering, upstream)
    paid = phase in {Phase.COMPLETED, Phase.EXPIRED}
    assert (job.status, submission.state) == ("cancelled", "dropped")
    assert submission.cost_state == ("settled" if paid else "released")


def given_up(rendering: Submission, upstream: Upstream) -> None:
    """What the look and the sweep do with a render that outlasted our patience."""
    with worked(settings.JOB_GIVE_UP_AFTER + 1):
        all_due_work()
        sweep(upstream)
    rendering.refresh_from_db()
    assert rendering.state == "given_up"


def test_a_render_past_its_deadline_is_given_up_and_what_was_spent_is_said(
    rendering: Submission, upstream: Upstream
) -> None:
    with worked(settings.JOB_GIVE_UP_AFTER - 60):
        _, submission = after_sweep(rendering, upstream)
        assert submission.state == "rendering"
    given_up(rendering, upstream)
    job = Job.objects.get()
    rendering.refresh_from_db()
    assert rendering.cost_state == "settled"
    assert (job.status, job.error_code) == ("failed", "gave_up")


def test_a_render_that_finished_while_we_were_away_is_not_given_up(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.complete(upstream_id(rendering))
    with shifted(timedelta(seconds=settings.JOB_GIVE_UP_AFTER + 1)):
        all_due_work()
        _, submission = after_sweep(rendering, upstream)
    assert submission.state == "rendered"


def test_a_silent_upstream_is_waited_for_an_hour_longer(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.list_error = sora.retrieve_error = errors.Unavailable("refused")
    past = settings.JOB_GIVE_UP_AFTER + 1
    for minutes in range(0, 60, 10):
        with worked(past + 60 * minutes):
            all_due_work()
            _, submission = after_sweep(rendering, upstream)
        assert submission.state == "rendering", minutes
    with worked(past + 3600):
        after_sweep(rendering, upstream)
        all_due_work()
    rendering.refresh_from_db()
    assert rendering.state == "given_up"


def test_an_answer_ends_the_silence(rendering: Submission, upstream: Upstream, sora: ScriptedClient) -> None:
    sora.list_error = errors.Unavailable("refused")
    _, submission = after_sweep(rendering, upstream)
    assert submission.silent_since is not None
    sora.list_error = None
    with shifted(timedelta(seconds=6)):
        _, submission = after_sweep(rendering, upstream)
    assert submission.silent_since is None


@pytest.mark.parametrize(
    ("state", "job_status", "after", "job_after"),
    [
        ("unknown", "pending", "given_up", "failed"),
        ("rendering", "processing", "given_up", "failed"),
        ("rendered", "processing", "given_up", "failed"),
        ("dropping", "cancelled", "dropped", "cancelled"),
    ],
)
def test_what_belongs_to_an_upstream_that_is_configured_no_more_comes_to_an_end(
    job: Job,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    job_status: str,
    after: str,
    job_after: str,
) -> None:
    submission = claim_next(upstream)
    assert submission is not None
    Submission.objects.update(
        state=state,
        cost_state="settled" if state == "rendered" else "reserved",
        upstream_id=None if state == "unknown" else "video_1",
    )
    Job.objects.update(status=job_status)
    configure(monkeypatch, replace(upstream, name="another"))
    with worked(settings.JOB_GIVE_UP_AFTER - 1):
        all_due_work()
        submission.refresh_from_db()
        assert submission.state == state
    with worked(settings.JOB_GIVE_UP_AFTER + 1):
        all_due_work()
    submission.refresh_from_db()
    assert (submission.state, submission.cost_state, Job.objects.get().status) == (
        after,
        "settled",
        job_after,
    )


@pytest.mark.parametrize("error", [errors.Unavailable("500"), errors.Rejected("410"), errors.Busy("429")])
def test_one_video_that_cannot_be_asked_after_hides_no_other(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, error: errors.SoraError
) -> None:
    jobs = [make_job(), make_job()]
    for _ in jobs:
        submit_next(upstream)
    bad, good = (str(each.submissions.get().upstream_id) for each in jobs)
    sora.hidden, sora.retrieve_error = {bad}, error
    sora.complete(good)
    with shifted(timedelta(seconds=5)):
        sweep(upstream)
    assert [each.submissions.get().state for each in jobs] == ["rendering", "rendered"]


def breaking_off(sora: ScriptedClient, hidden: str) -> Callable[..., VideoPage]:
    """A list whose first page lacks one video, and whose second never comes."""
    whole = sora.list

    def listed(after: str | None = None, limit: int = 100, order: str = "desc") -> VideoPage:
        if after is not None:
            raise errors.Unavailable("the list does not move on")
        page = whole(None, limit, order)
        return VideoPage(tuple(video for video in page.videos if video.id != hidden), "more")

    return listed


def test_what_a_list_showed_before_it_broke_off_is_taken_and_the_rest_asked_one_by_one(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job(), make_job()]
    for _ in jobs:
        submit_next(upstream)
    for video_id in sora.videos:
        sora.complete(video_id)
    shown, beyond = jobs
    monkeypatch.setattr(sora, "list", breaking_off(sora, str(only(beyond).upstream_id)))
    sweep(upstream)
    assert (only(shown).state, only(beyond).state) == ("rendered", "rendering")
    assert only(beyond).silent_since is not None
    with shifted(timedelta(seconds=5)):
        sweep(upstream)
    assert only(beyond).state == "rendered"


def test_an_upstream_that_is_away_is_asked_twice_in_a_sweep(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    jobs = [make_job() for _ in range(4)]
    for _ in jobs:
        submit_next(upstream)
    sora.list_error = sora.retrieve_error = errors.Unavailable("refused")
    for later in (5, 6):
        with shifted(timedelta(seconds=later)):
            sweep(upstream)
    assert (sora.lists, sora.retrieves) == (1, 1)
    assert not Submission.objects.filter(silent_since=None).exists()


def test_while_the_list_fails_one_that_cannot_be_asked_after_hides_no_other(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job() for _ in range(3)]
    for _ in jobs:
        submit_next(upstream)
    bad = only(jobs[0]).upstream_id
    for video_id in sora.videos:
        sora.complete(video_id)
    sora.list_error = errors.Unavailable("503")
    one = sora.retrieve

    def retrieve(video_id: str, **asked: Any) -> Video:
        if video_id == bad:
            raise errors.Unavailable("500")
        return one(video_id, **asked)

    monkeypatch.setattr(sora, "retrieve", retrieve)
    for later in (5, 11):
        with shifted(timedelta(seconds=later)):
            sweep(upstream)
    assert [only(job).state for job in jobs] == ["rendering", "rendered", "rendered"]


def test_a_sweep_does_not_put_off_what_is_to_be_stopped(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(replace(OPENAI, cancels=True))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    old, young = make_job(), make_job()
    submit_next(upstream), submit_next(upstream)
    cancel(old)
    with shifted(timedelta(seconds=5)):
        sweep(upstream)
        work = all_due_work()
        assert [each.kind for each in work] == [Due.CALLS]
        assert list(due_rows(upstream, upstream.provider(), Due.CALLS)) == [only(old)]
    assert only(young).state == "rendering"
    assert sora.lists == 1


def test_of_many_that_are_asked_one_by_one_none_starves(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videos.lifecycle.following.sweep._MAX_STRAGGLERS", 5)
    upstream = scripted(replace(OPENAI, lists=False), concurrency=50)
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    for _ in range(12):
        make_job()
        submit_next(upstream)
    for video_id in sora.videos:
        sora.set(video_id, Phase.RUNNING, progress=7)
    for seconds in (2, 4, 6):
        with shifted(timedelta(seconds=seconds)):
            sweep(upstream)
    assert Job.objects.filter(progress=7).count() == 12


def test_one_that_is_seen_again_was_not_missing(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    Submission.objects.update(missing_polls=2, missing_since=database_now())
    with shifted(timedelta(seconds=60)):
        sweep(upstream)
    rendering.refresh_from_db()
    assert (rendering.missing_polls, rendering.missing_since) == (0, None)


def test_a_late_success_is_kept(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    given_up(rendering, upstream)
    sora.complete(upstream_id(rendering))
    with shifted(timedelta(seconds=settings.JOB_GIVE_UP_AFTER + 3602)):
        for _ in range(2):
            for work in all_due_work():
                if work.kind is not None:
                    attend(upstream, work.kind)
    job = Job.objects.get()
    rendering.refresh_from_db()
    assert (job.status, rendering.state, rendering.cost_state) == ("completed", "stored", "settled")
    assert job.error_code == ""


def test_a_late_success_is_not_taken_by_a_job_that_failed_of_something_else(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    given_up(rendering, upstream)
    Job.objects.update(error_code="moderation_blocked")
    sora.complete(upstream_id(rendering))
    with shifted(timedelta(seconds=settings.JOB_GIVE_UP_AFTER + 3602)):
        rendering.refresh_from_db()
        ask_late(rendering, upstream)
    rendering.refresh_from_db()
    assert (rendering.state, rendering.due_at) == ("given_up", None)


def test_of_two_late_successes_one_is_kept(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    given_up(rendering, upstream)
    twin = sora.add(CreateRequest(**rendering.request))
    Submission.objects.create(
        job=rendering.job,
        number=2,
        provider=rendering.provider,
        match_key=rendering.match_key,
        state="given_up",
        cost_state="settled",
        upstream_id=twin.id,
        due_at=database_now(),
        lease_until=database_now(),
        give_up_at=database_now(),
        request=rendering.request,
        created_at=database_now(),
    )
    for video_id in list(sora.videos):
        sora.complete(video_id)
    with shifted(timedelta(seconds=settings.JOB_GIVE_UP_AFTER - 1)):
        for submission in Submission.objects.order_by("number"):
            Submission.objects.filter(pk=submission.pk).update(due_at=database_now())
            ask_late(submission, upstream)
    states = Submission.objects.order_by("number").values_list("state", flat=True)
    assert list(states) == ["rendered", "given_up"]


def test_a_render_revived_in_the_same_moment_is_not_given_up(
    rendering: Submission, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revived_first(submission: Submission) -> Any:
        Submission.objects.update(give_up_at=database_now() + timedelta(hours=1))
        return locked(submission)

    monkeypatch.setattr("videos.lifecycle.expiry.locked", revived_first)
    configure(monkeypatch, replace(upstream, name="another"))
    with worked(settings.JOB_GIVE_UP_AFTER + 1):
        all_due_work()
    rendering.refresh_from_db()
    assert rendering.state == "rendering"


def test_late_looks_come_to_an_end(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    given_up(rendering, upstream)
    sora.retrieves = 0
    with worked(2 * settings.JOB_GIVE_UP_AFTER + 3700):
        rendering.refresh_from_db()
        rendering.provider.refresh_from_db()
        ask_late(rendering, upstream)
    rendering.refresh_from_db()
    assert (rendering.due_at, sora.retrieves) == (None, 0)


def test_a_given_up_render_is_missing_only_after_three_looks_over_two_minutes(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    given_up(rendering, upstream)
    kept = dict(sora.videos)
    sora.videos.clear()
    late = settings.JOB_GIVE_UP_AFTER + 3700
    for seconds, attempts in ((0, 1), (30, 1), (61, 2), (122, 3)):
        rendering.refresh_from_db()
        assert rendering.due_at is not None, seconds
        with shifted(timedelta(seconds=late + seconds)):
            ask_late(rendering, upstream)
        assert sora.retrieves == attempts
    rendering.refresh_from_db()
    assert (rendering.state, rendering.cost_state, rendering.due_at) == ("given_up", "settled", None)
    assert kept


def test_a_given_up_render_that_is_missing_for_a_moment_is_still_asked_after(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    given_up(rendering, upstream)
    kept, sora.videos = sora.videos, {}
    late = settings.JOB_GIVE_UP_AFTER + 3700
    with shifted(timedelta(seconds=late)):
        ask_late(rendering, upstream)
    sora.videos = kept
    sora.complete(upstream_id(rendering))
    with shifted(timedelta(seconds=late + 61)):
        ask_late(rendering, upstream)
    rendering.refresh_from_db()
    assert rendering.state == "rendered"


def test_asking_again_after_the_end_changes_nothing(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.complete(upstream_id(rendering))
    ask(rendering, upstream)
    events = rendering.job.events.count()
    ask(rendering, upstream)
    sora.fail(upstream_id(rendering))
    ask(rendering, upstream)
    rendering.refresh_from_db()
    assert rendering.state == "rendered"
    assert rendering.job.events.count() == events


def test_young_renders_are_asked_after_more_often_than_old_ones(
    rendering: Submission, upstream: Upstream, settings: Settings
) -> None:
    settings.SORA_SYNC_SECONDS_MIN, settings.SORA_SYNC_SECONDS_MAX = 1, 15
    pauses = []
    for age in (0, 25, 1000):
        with shifted(timedelta(seconds=age)):
            now = database_now()
            _, submission = after_sweep(rendering, upstream)
            assert submission.due_at is not None
            pauses.append(round((submission.due_at - now).total_seconds()))
    assert pauses == [1, 5, 15]


def charging(sora: ScriptedClient, video_id: str, cost: str | None) -> None:
    sora.videos[video_id] = replace(sora.videos[video_id], cost=None if cost is None else Decimal(cost))


@pytest.mark.parametrize(
    ("states", "cost", "price"),
    [(True, "0.1358", "0.1358"), (True, "0", "0"), (True, None, "0.40"), (False, "0.1358", "0.40")],
)
def test_what_the_upstream_says_it_has_charged_is_settled(
    rendering: Submission,
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    states: bool,
    cost: str | None,
    price: str,
) -> None:
    telling = replace(upstream, dialect=replace(OPENAI, states_cost=states))
    configure(monkeypatch, telling)
    sora.complete(upstream_id(rendering))
    charging(sora, upstream_id(rendering), cost)
    _, submission = after_sweep(rendering, telling)
    assert (submission.cost_state, submission.price) == ("settled", Decimal(price))
    while count_some():
        pass
    assert set(Spending.objects.values_list("reserved", "settled")) <= {(0, int(Decimal(price) * 10_000))}


@pytest.mark.parametrize(("cost", "state"), [("0.05", "settled"), ("0", "released")])
def test_a_failed_render_is_settled_by_what_was_charged_for_it(
    rendering: Submission,
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    cost: str,
    state: str,
) -> None:
    stating = replace(upstream, bills_failed=True, dialect=replace(OPENAI, states_cost=True))
    configure(monkeypatch, stating)
    sora.fail(upstream_id(rendering))
    charging(sora, upstream_id(rendering), cost)
    _, submission = after_sweep(rendering, upstream)
    assert submission.cost_state == state
