import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from pytest_django import Settings

from tests.videos.scripted import ScriptedClient
from tests.videos.test_submit import raising
from videos.clock import shifted
from videos.lifecycle import submit
from videos.lifecycle.look import attend, look
from videos.models import Job, Provider, Submission
from videos.sora import errors
from videos.upstream import Upstream

pytestmark = pytest.mark.django_db

MakeJob = Callable[..., Job]


@pytest.fixture
def upstream(upstream: Upstream) -> Upstream:
    return replace(upstream, concurrency=1000)


@pytest.mark.parametrize("limit", [1, 2, 12])
def test_no_minute_holds_more_creates_than_the_limit(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings, limit: int
) -> None:
    settings.SORA_REQUESTS_PER_MINUTE = limit
    for _ in range(limit + 3):
        make_job()
    for seconds in range(130):
        with shifted(timedelta(seconds=seconds)):
            while submit.submit_next(upstream):
                pass
    # By the database's clock, which also runs while this test does.
    sent_at = [submission.created_at for submission in Submission.objects.all()]
    assert sent_at
    minute = timedelta(seconds=60)
    for begin in sent_at:
        assert sum(begin <= each < begin + minute for each in sent_at) <= limit


def test_the_limit_is_used(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_REQUESTS_PER_MINUTE = 12
    for _ in range(20):
        make_job()
    for seconds in range(60):
        with shifted(timedelta(seconds=seconds)):
            while submit.submit_next(upstream):
                pass
    assert len(sora.creates) >= 11


def test_turns_that_were_not_used_are_not_saved_up(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_REQUESTS_PER_MINUTE = 3
    for _ in range(6):
        make_job()
    assert submit.submit_next(upstream)
    with shifted(timedelta(hours=1)):
        while submit.submit_next(upstream):
            pass
    assert len(sora.creates) <= 1 + 3


def test_a_claim_that_finds_no_job_uses_no_turn(
    make_job: MakeJob, upstream: Upstream, settings: Settings
) -> None:
    settings.SORA_REQUESTS_PER_MINUTE = 1
    for _ in range(3):
        assert submit.claim(upstream) is None
    make_job()
    assert submit.claim(upstream) is not None


def failing(make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, creates: int) -> None:
    sora.before = raising(errors.OutcomeUnknown("500", answered=True))
    for _ in range(creates):
        make_job()
        assert submit.submit_next(upstream)


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
    assert not submit.submit_next(upstream)
    assert "3 creates in a row have failed" in caplog.text
    assert Provider.objects.get().hold_reason == "500"


def test_an_open_breaker_lets_one_at_a_time_try(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_BREAKER_FAILURES = 3
    failing(make_job, upstream, sora, 3)
    make_job(), make_job()
    with shifted(timedelta(seconds=10)):
        assert submit.claim(upstream) is not None
        assert submit.claim(upstream) is None


def test_an_accepted_create_closes_the_breaker(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_BREAKER_FAILURES = 3
    failing(make_job, upstream, sora, 3)
    sora.before = None
    make_job(), make_job(), make_job()
    with shifted(timedelta(seconds=10)):
        assert submit.submit_next(upstream)
        provider = Provider.objects.get()
        assert (provider.failures, provider.hold_reason) == (0, "")
        assert submit.claim(upstream) is not None
        assert submit.claim(upstream) is not None


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
            if submit.submit_next(upstream):
                tried.append(seconds)
    assert 10 < len(tried) < 30
    assert max(later - earlier for earlier, later in itertools.pairwise(tried)) <= 310


def test_an_open_breaker_stops_neither_reconciling_nor_sweeping(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_BREAKER_FAILURES = 1
    make_job()
    submit.submit_next(upstream)
    failing(make_job, upstream, sora, 1)
    with shifted(timedelta(seconds=2.5)):
        due = look(upstream)
        assert {work.task for work in due} == {"sweep", "attend"}
        for work in due:
            if work.submission_id:
                attend(Submission.objects.select_related("job").get(pk=work.submission_id), upstream)
    assert sora.lists == 1


def test_failures_that_are_not_in_a_row_open_nothing(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_BREAKER_FAILURES = 3
    for _ in range(3):
        failing(make_job, upstream, sora, 2)
        sora.before = None
        make_job()
        assert submit.submit_next(upstream)
    assert Provider.objects.get().failures == 0
