"""Many jobs at once come to what one at a time comes to."""

import itertools
import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import User
from tests.configured import configure
from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient
from upstreams.client import errors
from upstreams.client.types import CreateRequest
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.sending import outcome, together
from videos.lifecycle.sending import submit as submitting
from videos.lifecycle.sending.begin import begin as begin_together
from videos.lifecycle.sending.submit import submit
from videos.models import Group, Job, JobEvent, OwnerRotation, Submission
from videos.queue import isolation
from videos.queue.claims.claim import claim

pytestmark = pytest.mark.django_db

MakeJob = Callable[..., Job]


@pytest.fixture
def wide(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """It may render a hundred at a time."""
    found = replace(upstream, concurrency=100)
    configure(monkeypatch, found)
    return found


def states(*jobs: Job) -> list[str]:
    return [job.submissions.get().state for job in jobs]


def history(job: Job) -> list[tuple[int, str, str]]:
    return list(job.events.order_by("number").values_list("number", "subject", "to_state"))


@pytest.mark.parametrize("seed", range(6))
def test_many_are_claimed_in_the_order_of_one_at_a_time(
    make_job: MakeJob, wide: Upstream, settings: Settings, seed: int
) -> None:
    """Owners, priorities, groups with limits, equal requests, and what is not due: at random."""
    chance = random.Random(seed)
    settings.MAX_IN_FLIGHT_JOBS = chance.choice([0, 3])
    owners = [User.objects.create_user(f"owner {number}") for number in range(3)]
    groups = [Group.objects.create(owner=owner, limit=chance.choice([1, 2])) for owner in owners]
    now = database_now()
    for number in range(24):
        owner = chance.randrange(3)
        job = make_job(
            by=owners[owner],
            prompt=f"boat {chance.randrange(18)}",
            priority=chance.choice(["low", "normal", "high"]),
        )
        Job.objects.filter(pk=job.pk).update(
            group=groups[owner] if chance.random() < 0.4 else None,
            asked_at=now - timedelta(seconds=number),
            due_at=now + timedelta(hours=1) if chance.random() < 0.1 else now,
        )
    together = [each.job_id for each in claim(wide, 9)]
    assert together
    Submission.objects.all().delete()
    OwnerRotation.objects.all().delete()
    Provider.objects.update(turns=0)
    apart = [each.job_id for _ in together for each in claim(wide)]
    assert together == apart


@pytest.mark.parametrize(
    ("room", "most", "claimed"),
    [(100, 5, 5), (3, 5, 3), (100, 20, 12)],
    ids=["as many as are asked for", "as many as have room", "as many as there are"],
)
def test_no_more_are_claimed_than_may_be(
    make_job: MakeJob,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    room: int,
    most: int,
    claimed: int,
) -> None:
    upstream = replace(upstream, concurrency=room)
    configure(monkeypatch, upstream)
    for _ in range(12):
        make_job()
    assert len(claim(upstream, most)) == claimed
    assert Provider.objects.get().turns == claimed


def test_no_more_are_claimed_than_the_rate_has_room_for(
    make_job: MakeJob, wide: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 60 a minute some seconds' worth may be sent ahead."""
    limited = replace(wide, requests_per_minute=60)
    configure(monkeypatch, limited)
    for _ in range(12):
        make_job()
    first = len(claim(limited, 12))
    assert first == 5
    assert claim(limited, 12) == []
    ahead = Provider.objects.get().next_token_at
    assert ahead is not None
    assert ahead - database_now() > timedelta(seconds=5)


def test_after_failures_one_is_claimed_and_no_other_while_it_is_sent(
    make_job: MakeJob, wide: Upstream, settings: Settings
) -> None:
    for _ in range(3):
        make_job()
    wide.provider()
    Provider.objects.update(failures=settings.SORA_BREAKER_FAILURES)
    assert len(claim(wide, 3)) == 1
    assert claim(wide, 3) == []


def test_one_whose_claim_raises_is_put_off_and_the_others_are_claimed(
    make_job: MakeJob, wide: Upstream
) -> None:
    bad, *good = [make_job() for _ in range(4)]
    Job.objects.filter(pk=bad.pk).update(fitted={})
    # Smaller and smaller ones tell which of them it was.
    assert claim(wide, 4) == []
    bad.refresh_from_db()
    assert (bad.faults, bad.submissions.count()) == (1, 0)
    assert {each.job_id for each in claim(wide, 4)} == {job.pk for job in good}


def test_of_those_that_a_list_cannot_tell_apart_one_is_claimed(
    make_job: MakeJob, wide: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one lane and of several, without a try that the database refuses."""
    for owner in (None, User.objects.create_user("bob")):
        for prompt in ("boat", "boat", "heron"):
            make_job(prompt, by=owner)
    begun = []

    def begin(jobs: list[Job], *args: Any, **fields: Any) -> list[Submission]:
        begun.append(sorted(job.prompt for job in jobs))
        return begin_together(jobs, *args, **fields)

    monkeypatch.setattr("videos.queue.claims.claim.begin", begin)
    assert len(claim(wide, 6)) == 2
    assert begun == [["boat", "heron"]]


def test_creates_are_under_way_side_by_side(make_job: MakeJob, wide: Upstream, sora: ScriptedClient) -> None:
    jobs = [make_job() for _ in range(5)]
    meeting = threading.Barrier(5)
    # Each waits for the others.
    sora.before = lambda _: meeting.wait(TIMEOUT) and None
    assert submit(wide, at_once=5) == 5
    assert states(*jobs) == ["rendering"] * 5


def test_more_are_claimed_as_soon_as_there_is_room_for_them(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    """One that hangs holds up itself alone."""
    jobs = [make_job() for _ in range(9)]
    others_are_sent = threading.Event()

    def hang(request: CreateRequest) -> None:
        if request.prompt == jobs[0].prompt:
            assert others_are_sent.wait(TIMEOUT)
        elif len(sora.videos) == 7:
            others_are_sent.set()

    sora.before = hang
    assert submit(wide, at_once=2) == 9
    assert states(*jobs) == ["rendering"] * 9


def test_each_answer_counts_for_its_own_job(make_job: MakeJob, wide: Upstream, sora: ScriptedClient) -> None:
    jobs = [make_job() for _ in range(5)]
    answers: dict[str, Exception] = {
        jobs[1].prompt: errors.Rejected("too long", status=400),
        jobs[2].prompt: errors.OutcomeUnknown("reset"),
        jobs[3].prompt: RuntimeError("a bug"),
    }

    def answer(request: CreateRequest) -> None:
        if error := answers.get(request.prompt):
            raise error

    sora.before = answer
    submit(wide, at_once=5)
    assert states(*jobs) == ["rendering", "rejected", "unknown", "sending", "rendering"]
    for job, status in zip(jobs, ["processing", "failed", "pending", "pending", "processing"], strict=True):
        job.refresh_from_db()
        assert job.status == status
    found = Submission.objects.get(job=jobs[4])
    assert sora.videos[str(found.upstream_id)].prompt == jobs[4].prompt


def test_what_is_recorded_together_is_what_is_recorded_alone(
    make_job: MakeJob, wide: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All columns but those that say when, and which it is."""
    together_first, together_second = make_job(), make_job()
    submit(wide, at_once=2)
    monkeypatch.setattr(outcome, "accept_together", lambda *_: set())
    alone = make_job()
    submit(wide, at_once=1)
    own = {"id", "job_id", "upstream_id", "match_key", "request", "prompt", "fitted", "reservation_id"}

    def columns(row: Any) -> dict[str, Any]:
        return {
            field.attname: value is not None if field.attname.endswith(("_at", "_until")) else value
            for field in row._meta.concrete_fields
            for value in [getattr(row, field.attname)]
            if field.attname not in own
        }

    expected = columns(alone.submissions.get()), columns(Job.objects.get(pk=alone.pk)), history(alone)
    for job in (together_first, together_second):
        found = columns(job.submissions.get()), columns(Job.objects.get(pk=job.pk)), history(job)
        assert found == expected
    details = JobEvent.objects.filter(to_state="rendering").order_by("pk").values_list("detail", flat=True)
    assert [sorted(detail) for detail in details] == [["how", "upstreamId"]] * 3


def test_of_an_id_that_two_have_been_given_neither_is_taken_for_sure(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    first, second = make_job(), make_job()
    sora.after = lambda video: replace(video, id="video_1")
    submit(wide, at_once=2)
    assert sorted(states(first, second)) == ["rendering", "unknown"]


def test_an_id_that_was_given_before_is_no_plain_acceptance(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    make_job()
    submit(wide, at_once=1)
    (given,) = sora.videos
    jobs = [make_job(), make_job()]
    sora.after = lambda video: replace(video, id=given) if video.prompt == jobs[0].prompt else video
    submit(wide, at_once=2)
    assert states(*jobs) == ["unknown", "rendering"]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_cancelled_while_it_is_sent_stays_cancelled(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    cancelled, other = make_job(), make_job()

    def call_off(request: CreateRequest) -> None:
        if request.prompt == cancelled.prompt:
            cancel(Job.objects.get(pk=cancelled.pk))

    sora.before = call_off
    submit(wide, at_once=2)
    cancelled.refresh_from_db()
    other.refresh_from_db()
    assert (cancelled.status, other.status) == ("cancelled", "processing")
    # It is paid, and known by its id.
    assert states(cancelled, other) == ["rendering", "rendering"]


def test_answers_that_cannot_be_written_together_are_written_one_by_one(
    make_job: MakeJob, wide: Upstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [make_job() for _ in range(3)]

    def bug(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(together, "_note_echoes", bug)
    submit(wide, at_once=3)
    assert states(*jobs) == ["rendering"] * 3
    assert "one by one: a bug" in caplog.text


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait between two tries."""
    monkeypatch.setattr(submitting, "AGAIN_SECONDS", 0.01)


class Away:
    """A database that refuses to record, for so many tries of each submission."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tries: float) -> None:
        self.tries = tries
        self.tried: Counter[int] = Counter()
        self._locked = outcome.locked
        monkeypatch.setattr(outcome, "accept_together", lambda *_: set())
        monkeypatch.setattr(outcome, "locked", self.locked)
        for name in ("record_unknown", "put_off"):
            module = outcome if name == "record_unknown" else isolation
            monkeypatch.setattr(module, name, self.refuse)

    @contextmanager
    def locked(self, submission: Submission) -> Iterator[tuple[Job, Submission]]:
        self.tried[submission.pk] += 1
        if self.tried[submission.pk] <= self.tries:
            raise DatabaseError("away")
        with self._locked(submission) as found:
            yield found

    def refuse(self, *_: Any, **__: Any) -> None:
        raise DatabaseError("away")


@pytest.mark.usefixtures("at_once")
def test_what_cannot_be_recorded_is_recorded_once_the_database_is_back(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be recorded takes no other with it, and nothing more is claimed meanwhile."""
    jobs = [make_job() for _ in range(4)]
    away = Away(monkeypatch, tries=3)
    assert submit(wide, at_once=4) == 4
    assert states(*jobs) == ["rendering"] * 4
    assert set(away.tried.values()) == {4}
    assert len(sora.creates) == 4


@pytest.mark.usefixtures("at_once")
def test_a_database_that_stays_away_leaves_answers_to_their_leases(
    make_job: MakeJob, wide: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job() for _ in range(4)]
    away = Away(monkeypatch, tries=math.inf)
    with pytest.raises(outcome.NotRecorded, match="3 answers"):
        submit(replace(wide, deadline=0.3), at_once=3, seconds=0)
    assert sorted(job.submissions.count() for job in jobs) == [0, 1, 1, 1]
    assert min(away.tried.values()) > 1
    assert states(*jobs[:3]) == ["sending"] * 3


@pytest.mark.usefixtures("at_once")
def test_what_a_claim_raises_is_raised_after_the_answers_are_recorded(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job() for _ in range(6)]
    has_failed = threading.Event()
    calls = itertools.count()

    def claim_or_fail(upstream: Upstream, most: int) -> list[Submission]:
        if next(calls):
            has_failed.set()
            raise DatabaseError("away")
        return claim(upstream, most)

    # One is answered at once, and the other two once the next claim has failed.
    sora.before = lambda request: (
        None if request.prompt == jobs[0].prompt else has_failed.wait(TIMEOUT) and None
    )
    monkeypatch.setattr(submitting, "claim", claim_or_fail)
    with pytest.raises(DatabaseError, match="away"):
        submit(wide, at_once=3)
    assert states(*jobs[:3]) == ["rendering"] * 3


@pytest.mark.usefixtures("at_once")
def test_places_beside_one_that_hangs_are_used_after_the_time_is_over(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    hanging, *others = [make_job() for _ in range(5)]
    are_sent = threading.Event()

    def hang(request: CreateRequest) -> None:
        if request.prompt == hanging.prompt:
            assert are_sent.wait(TIMEOUT)
        elif len(sora.videos) == 3:
            are_sent.set()

    sora.before = hang
    assert submit(wide, at_once=2, seconds=0) == 5
    assert states(hanging, *others) == ["rendering"] * 5


def test_many_that_fail_together_open_the_breaker_and_no_more(
    make_job: MakeJob,
    wide: Upstream,
    sora: ScriptedClient,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(20):
        make_job()

    def fail(_: CreateRequest) -> None:
        raise errors.OutcomeUnknown("reset")

    sora.before = fail
    submit(wide, at_once=20, seconds=0)
    provider = Provider.objects.get()
    assert provider.failures == settings.SORA_BREAKER_FAILURES
    assert provider.sending_backoff_until is not None
    assert provider.sending_backoff_until - database_now() <= timedelta(seconds=5)
    assert caplog.text.count("creates in a row have failed") == 1


@pytest.mark.parametrize(
    "error", [errors.Busy("429"), errors.NotSent("no connection"), errors.Misconfigured("401")]
)
def test_many_that_are_refused_together_count_once(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, error: Exception
) -> None:
    for _ in range(20):
        make_job()

    def refuse(_: CreateRequest) -> None:
        raise error

    sora.before = refuse
    submit(wide, at_once=20, seconds=0)
    assert Provider.objects.get().failures == 1


def test_after_a_failure_few_are_sent_at_a_time(
    make_job: MakeJob, wide: Upstream, settings: Settings
) -> None:
    for _ in range(20):
        make_job()
    wide.provider()
    Provider.objects.update(failures=2)
    assert len(claim(wide, 20)) == settings.SORA_BREAKER_FAILURES - 2


def test_many_that_are_not_found_are_asked_about_once(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    jobs = [make_job() for _ in range(5)]
    outcome.record([(submission, errors.NotFound("404")) for submission in claim(wide, 5)], wide)
    assert sora.probes == 1
    assert states(*jobs) == ["rejected"] * 5


def test_pictures_are_sent_two_at_a_time(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in memory while they are sent. What has none waits for nobody."""
    plain, *pictures = [make_job() for _ in range(5)]
    for job in pictures:
        Job.objects.filter(pk=job.pk).update(fitted=job.fitted | {"input_reference": "a picture"})
    monkeypatch.setattr("videos.lifecycle.sending.post.pictures_of", lambda _: None)
    lock = threading.Lock()
    seen, under_way = [], 0
    meeting, all_seen = threading.Barrier(2), threading.Event()

    def count(request: CreateRequest) -> None:
        nonlocal under_way
        if request.prompt == plain.prompt:
            assert all_seen.wait(TIMEOUT)
            return
        with lock:
            under_way += 1
            seen.append(under_way)
        meeting.wait(TIMEOUT)
        with lock:
            under_way -= 1
        if len(seen) == len(pictures):
            all_seen.set()

    sora.before = count
    assert submit(wide, at_once=5) == 5
    assert states(plain, *pictures) == ["rendering"] * 5
    assert max(seen) == 2


def test_it_ends_when_its_time_is_over(make_job: MakeJob, wide: Upstream) -> None:
    for _ in range(6):
        make_job()
    assert submit(wide, at_once=2, seconds=0) == 2
    assert submit(wide, at_once=2) == 4


def test_the_statements_of_many_are_few(make_job: MakeJob, wide: Upstream) -> None:
    for _ in range(20):
        make_job()
    submit(wide, at_once=1, seconds=0)
    with CaptureQueriesContext(connection) as queries:
        assert submit(wide, at_once=16, seconds=0) == 16
    # One to choose each, and those that all share.
    assert len(queries) < 16 * 2 + 45
