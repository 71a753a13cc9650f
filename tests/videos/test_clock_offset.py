"""A clock that is off, or that is set, never leads to a second payment."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_reconcile import WINDOW, dropped, search_at, through_the_window
from tests.videos.test_submit import only, raising
from upstreams.client import answers, errors
from upstreams.client.types import CreateRequest, Video
from upstreams.clock import database_now, shifted
from upstreams.clock_offset import Offset
from upstreams.registry import Upstream
from videos.models import Job
from videos.reconciliation.restored.books import forget_checks, may_create

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _window(settings: object) -> None:
    settings.SORA_RECONCILE_SECONDS = WINDOW  # type: ignore[attr-defined]
    forget_checks()


@pytest.mark.parametrize("off", [-3600, -60, 60, 3600])
@pytest.mark.parametrize("known", [True, False], ids=["measured before", "first create"])
def test_an_unanswered_create_is_found_by_a_clock_that_is_off(
    off: int, known: bool, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.clock = timedelta(seconds=off)
    if known:
        assert may_create(upstream)
    sora.after = dropped
    submit_next(upstream)
    submission = through_the_window(job, upstream)
    assert (submission.state, submission.upstream_id) == ("rendering", next(iter(sora.videos)))
    assert len(sora.creates) == 1


@pytest.mark.parametrize("off", [-3600, 0, 3600])
def test_absence_is_proven_by_a_clock_that_is_off_and_steady(
    off: int, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.clock = timedelta(seconds=off)
    assert may_create(upstream)
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    assert through_the_window(job, upstream).state == "absent"


def test_without_a_clock_nothing_is_proven(
    job: Job, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    sora.clock = None
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    submission = through_the_window(job, upstream)
    assert (submission.state, submission.cost_state) == ("unknown", "reserved")
    assert "nothing is known of the upstream's clock" in caplog.text


@pytest.mark.parametrize("step", [-90, 90])
def test_a_clock_that_was_set_between_the_claim_and_the_search_proves_nothing(
    step: int, job: Job, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert may_create(upstream)
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    sora.clock = timedelta(seconds=step)
    submission = through_the_window(job, upstream)
    assert (submission.state, submission.clock_steady) == ("unknown", False)
    assert "was set meanwhile" in caplog.text


@pytest.mark.parametrize("step", [-90, 90])
def test_a_database_clock_that_was_set_hides_no_video(
    step: int, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    """The upstream's clock goes on; ours jumps, and with it the difference between the two."""
    assert may_create(upstream)
    sora.after = dropped
    submit_next(upstream)
    (paid,) = sora.videos
    sora.clock = timedelta(seconds=-step)
    with shifted(timedelta(seconds=step)):
        submission = through_the_window(job, upstream)
    assert submission.state != "absent"
    assert submission.upstream_id in {paid, None}
    assert len(sora.creates) == 1


def test_an_accepted_create_at_an_upstream_whose_clock_is_off_keeps_the_trust_in_its_list(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.clock = timedelta(hours=-2)
    assert may_create(upstream)
    submit_next(upstream)
    assert only(job).state == "rendering"
    assert upstream.provider().proves_absence


def test_videos_that_are_dated_by_another_clock_than_the_answers_prove_nothing(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    """As behind a proxy that writes a Date of its own."""
    assert may_create(upstream)
    sora.clock = timedelta(hours=-2)
    submit_next(upstream)
    assert not upstream.provider().proves_absence


def test_a_list_from_a_cache_proves_no_absence(
    job: Job, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes without a date of its own, and may be older than the attempt, whatever was measured before."""
    assert may_create(upstream)
    sora.after = dropped
    submit_next(upstream)
    (paid,) = sora.videos
    sora.hidden.add(paid)
    sora.clock = None
    assert through_the_window(job, upstream).state == "unknown"
    assert "may come from a cache" in caplog.text
    sora.hidden.clear()
    sora.clock = timedelta()
    assert search_at(job, upstream, 700).upstream_id == paid
    assert len(sora.creates) == 1


def dated_by_another_clock(sora: ScriptedClient, off: timedelta) -> None:
    """Its videos are dated otherwise than its answers, as by a server that writes its local time."""
    accept = sora.add

    def add(request: CreateRequest) -> Video:
        return accept(request, created_at=database_now() + off)

    sora.add = add  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("off", [-14, -1])
def test_a_video_of_another_date_is_not_paid_twice_while_none_was_answered(
    off: int, job: Job, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    dated_by_another_clock(sora, timedelta(hours=off))
    assert may_create(upstream)
    sora.after = dropped
    submit_next(upstream)
    assert through_the_window(job, upstream).state == "unknown"
    assert f"nobody owns {next(iter(sora.videos))}" in caplog.text
    with shifted(timedelta(minutes=1)):
        assert not submit_next(upstream)


def test_where_dates_are_known_to_be_off_an_unanswered_create_is_found_all_the_same(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    dated_by_another_clock(sora, timedelta(hours=-2))
    assert may_create(upstream)
    make_job()
    submit_next(upstream)
    assert upstream.provider().dates_agree is False
    job = make_job()
    older = sora.add(CreateRequest(**job.fitted))
    sora.videos[older.id] = replace(older, created_at=database_now() - timedelta(days=3))
    sora.after = dropped
    submit_next(upstream)
    *_, paid = sora.videos
    submission = through_the_window(job, upstream)
    assert (submission.state, submission.upstream_id) == ("rendering", paid)


@pytest.mark.parametrize("years", [-22, 73])
def test_a_date_that_is_years_off_is_that_of_no_clock(
    years: int, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.clock = timedelta(days=365 * years)
    dated_by_another_clock(sora, timedelta())
    assert may_create(upstream)
    sora.after = dropped
    submit_next(upstream)
    assert upstream.provider().clock_at is None
    assert through_the_window(job, upstream).upstream_id == next(iter(sora.videos))


def test_two_measurements_narrow_each_other_or_contradict() -> None:
    def between(low: float, high: float) -> Offset:
        return Offset(timedelta(seconds=low), timedelta(seconds=high))

    assert between(-1, 3).and_also(between(0, 5)) == between(0, 3)
    assert between(-1, 0).and_also(between(0.5, 2)) == between(0, 0.5), "a drift, or a rounding"
    assert between(-1, 0).and_also(between(60, 62)) is None
    noon = datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert Offset.of(noon, noon, noon + MINUTE) == Offset(-MINUTE, timedelta(seconds=1))


@pytest.mark.parametrize(
    "date", ["", "soon", "Thu, 26 Nov 1990 12:00:00 GMT", "Thu, 26 Nov 99999 12:00:00 GMT", "-"]
)
def test_a_date_that_no_clock_has_is_none(date: str) -> None:
    assert answers.date_of({"Date": date}) is None


def test_the_date_of_an_answer_from_a_cache_is_none() -> None:
    assert answers.date_of({"Date": "Thu, 26 Nov 2026 12:00:00 GMT", "Age": "30"}) is None


def test_a_date_is_read() -> None:
    found = answers.date_of({"Date": "Thu, 26 Nov 2026 12:00:00 GMT"})
    assert found == datetime(2026, 11, 26, 12, tzinfo=UTC)
