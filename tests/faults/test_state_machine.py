"""Anything that callers, the upstream, crashes and clocks can do, in any order, with the ledger as judge."""

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, strategies
from hypothesis import settings as examples
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pytest_django import Settings

from accounts.models import User
from tests.videos.scripted import ScriptedClient
from videos.clock import database_now, shifted
from videos.fitting import Asked
from videos.lifecycle import submit
from videos.lifecycle.cancel import NotCancellable, cancel
from videos.lifecycle.create import create
from videos.lifecycle.look import attend, look, probe
from videos.lifecycle.retry import NotRetryable, retry
from videos.lifecycle.sync import sweep
from videos.models import Job, JobEvent, Provider, Submission
from videos.sora import errors
from videos.sora.dialects import OPENAI
from videos.sora.types import CreateRequest, Video, VideoPage
from videos.sora.types import Phase as VideoPhase
from videos.states import JOB_ENTERED_FROM, JOB_OPEN, LIVE, SUBMISSION_ENTERED_FROM, JobStatus
from videos.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)


# Shorter than the reconciling window.
_LAG_SECONDS = 12
# Few jobs, so that much happens to each.
_JOBS_MOST = 5


class Crash(BaseException):
    """The process is gone: nothing of ours catches it."""


class Ledger(ScriptedClient):
    """The scripted upstream on the database's clock. Some of its videos show late on its list."""

    def __init__(self) -> None:
        super().__init__()
        self.late: set[str] = set()

    def add(self, request: CreateRequest, *, created_at: datetime | None = None) -> Video:
        return super().add(request, created_at=created_at or database_now())

    def list(self, after: str | None = None, limit: int = 100, order: str = "desc") -> VideoPage:
        seen_since = database_now() - timedelta(seconds=_LAG_SECONDS)
        self.hidden = {
            video_id
            for video_id in self.late
            if (self.videos[video_id].created_at or seen_since) > seen_since
        }
        return super().list(after, limit, order)

    def complete(self, video_id: str) -> None:
        # Files outlast the jumps of the clock here: what expired while everything was down is no promise.
        self.set(video_id, VideoPhase.COMPLETED, expires_at=database_now() + timedelta(days=365))


REFUSALS: dict[str, errors.SoraError] = {
    "not sent": errors.NotSent("refused"),
    "busy": errors.Busy("429", retry_after=3),
    "misconfigured": errors.Misconfigured("401", status=401),
    "rejected": errors.Rejected("no", status=400),
    "lost on the way": errors.OutcomeUnknown("reset"),
    "500 unmade": errors.OutcomeUnknown("500", answered=True),
}
AFTERMATHS: dict[str, BaseException] = {
    "made, then dropped": errors.OutcomeUnknown("reset"),
    "made, then 500": errors.OutcomeUnknown("500", answered=True),
    "made, then crashed": Crash(),
}


class Service(RuleBasedStateMachine):
    """Callers share two prompts, so that jobs look alike on the upstream's list."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ExitStack()
        self.sora = Ledger()
        client: Any = self.sora
        self.upstream = Upstream("scripted", client, OPENAI, concurrency=3, deadline=10, lease=30)
        self.retries: Counter[Any] = Counter()
        self.given: dict[Any, str] = {}

    @initialize()
    def begin(self) -> None:
        self.owner, _ = User.objects.get_or_create(username="ada")
        for prompt in ("a boat", "a boat", "a kite"):
            self.ask(prompt)

    def teardown(self) -> None:
        try:
            self.settle_down()
        finally:
            self.clock.close()
            Job.objects.all().delete()
            Provider.objects.all().delete()

    # What callers do.

    @precondition(lambda self: len(self.given) < _JOBS_MOST)
    @rule(prompt=strategies.sampled_from(["a boat", "a kite"]))
    def ask(self, prompt: str) -> None:
        job = create(Asked(prompt), owner=self.owner, api_key=None, upstream=self.upstream)
        self.given[job.pk] = prompt

    @rule(pick=strategies.integers(0, 50))
    def call_off(self, pick: int) -> None:
        if job := self._pick(pick):
            try:
                cancel(job, self.upstream)
            except NotCancellable:
                assert Job.objects.get(pk=job.pk).status not in JOB_OPEN

    @rule(pick=strategies.integers(0, 50))
    def ask_again(self, pick: int) -> None:
        if job := self._pick(pick):
            try:
                retry(job)
                self.retries[job.pk] += 1
            except NotRetryable:
                assert Job.objects.get(pk=job.pk).status not in {JobStatus.FAILED, JobStatus.CANCELLED}

    def _pick(self, pick: int) -> Job | None:
        jobs = list(Job.objects.order_by("id"))
        return jobs[pick % len(jobs)] if jobs else None

    # What the workers meet.

    @rule()
    def send(self) -> None:
        submit.submit_next(self.upstream)

    @rule(fault=strategies.sampled_from(sorted(REFUSALS)))
    def send_in_vain(self, fault: str) -> None:
        def before(request: CreateRequest) -> None:
            raise REFUSALS[fault]

        self._send_with(before=before)

    @rule(fault=strategies.sampled_from(sorted(AFTERMATHS)), late=strategies.booleans())
    def send_and_hear_nothing(self, fault: str, late: bool) -> None:
        def after(video: Video) -> Video:
            if late:
                self.sora.late.add(video.id)
            raise AFTERMATHS[fault]

        self._send_with(after=after)

    @rule()
    def crash_between_the_claim_and_the_post(self) -> None:
        submit.claim(self.upstream)

    @rule()
    def answer_after_the_lease(self) -> None:
        def after(video: Video) -> Video:
            with shifted(timedelta(seconds=self.upstream.lease + 1)):
                look(self.upstream)
            return video

        self._send_with(after=after)

    def _send_with(self, before: Any = None, after: Any = None) -> None:
        self.sora.before, self.sora.after = before, after
        try:
            submit.submit_next(self.upstream)
        except Crash:
            pass
        finally:
            self.sora.before = self.sora.after = None

    @rule(seconds=strategies.sampled_from([0.5, 3, 20, 40, 700]))
    def time_passes(self, seconds: float) -> None:
        self.clock.enter_context(shifted(timedelta(seconds=seconds)))

    @rule()
    def work(self) -> None:
        for due in look(self.upstream):
            if due.task == "sweep":
                sweep(self.upstream)
            elif due.task == "probe":
                probe(self.upstream)
            elif due.submission_id is not None:
                attend(Submission.objects.select_related("job").get(pk=due.submission_id), self.upstream)

    @rule()
    def work_while_the_list_is_away(self) -> None:
        self.sora.list_error = self.sora.retrieve_error = errors.Unavailable("502")
        try:
            self.work()
        finally:
            self.sora.list_error = self.sora.retrieve_error = None

    # What the upstream does.

    @rule(pick=strategies.integers(0, 50), phase=strategies.sampled_from([*VideoPhase]))
    def a_render_goes_on(self, pick: int, phase: VideoPhase) -> None:
        running = [video for video in self.sora.videos.values() if video.phase == VideoPhase.RUNNING]
        if running:
            video = running[pick % len(running)]
            if phase == VideoPhase.COMPLETED:
                self.sora.complete(video.id)
            elif phase != VideoPhase.EXPIRED:
                self.sora.set(video.id, phase)

    # What must hold.

    @invariant()
    def each_submission_is_paid_at_most_once(self) -> None:
        posts = Counter(request.prompt for request in self.sora.creates)
        for prompt, count in posts.items():
            jobs = [pk for pk, given in self.given.items() if given == prompt]
            sent = Submission.objects.filter(job__in=jobs).exclude(state__in=["unsent", "rejected", "absent"])
            assert count <= sent.count(), (prompt, count, list(sent))

    @invariant()
    def each_job_is_paid_at_most_as_often_as_it_was_asked_for(self) -> None:
        for pk in self.given:
            paying = Submission.objects.filter(job=pk).exclude(state__in=["unsent", "rejected", "absent"])
            assert paying.count() <= 1 + self.retries[pk]

    def settle_down(self) -> None:
        """With a well upstream and time, everything ends, and the books agree."""
        for _ in range(60):
            self.clock.enter_context(shifted(timedelta(seconds=70)))
            for video in list(self.sora.videos.values()):
                if video.phase == VideoPhase.RUNNING:
                    self.sora.complete(video.id)
            while submit.submit_next(self.upstream):
                pass
            self.work()
            if not Job.objects.filter(status__in=JOB_OPEN).exists() and not _live():
                break
        assert not Job.objects.filter(status__in=JOB_OPEN).exists(), list(Job.objects.all())
        assert not _live(), list(Submission.objects.all())
        assert not Submission.objects.filter(state__in=["given_up", "lost"]).exists()
        self._books_agree()
        _histories_follow_the_tables()
        for job in Job.objects.filter(status=JobStatus.COMPLETED):
            kept = job.submissions.get(state="stored")
            assert kept.request["prompt"] == self.given[job.pk]

    def _books_agree(self) -> None:
        billed = [
            video
            for video in self.sora.videos.values()
            if video.phase in {VideoPhase.COMPLETED, VideoPhase.EXPIRED}
        ]
        # What was dropped upstream had been completed, and was billed.
        settled = Submission.objects.filter(cost_state="settled")
        assert settled.count() == len(billed) + len(self.sora.deleted)
        assert sum(each.price or 0 for each in settled) == Decimal("0.40") * settled.count()
        owned = set(Submission.objects.exclude(upstream_id=None).values_list("upstream_id", flat=True))
        assert set(self.sora.videos) <= owned, "an orphan"


def _live() -> list[Submission]:
    return list(Submission.objects.filter(state__in=LIVE))


def _histories_follow_the_tables() -> None:
    for event in JobEvent.objects.exclude(from_state=""):
        table: Any = JOB_ENTERED_FROM if event.subject == "job" else SUBMISSION_ENTERED_FROM
        assert event.from_state in table[event.to_state], event
    for job in Job.objects.all():
        events = list(job.events.filter(subject="job").order_by("number"))
        assert events[0].to_state == "pending"
        assert all(one.to_state == next_.from_state for one, next_ in itertools.pairwise(events))
        assert events[-1].to_state == job.status


def test_no_order_of_events_pays_twice_or_loses_a_job(settings: Settings) -> None:
    """FAULT_EXAMPLES sets how many runs there are; by hand and nightly there are more."""
    thorough = os.environ.get("FAULT_EXAMPLES")
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]
    settings.SORA_CLOCK_SKEW = 1
    settings.JOB_GIVE_UP_AFTER = 10_000_000
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Service,
        settings=examples(
            max_examples=int(thorough or 15),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # A failure is made small only where there is time for it.
            phases=[Phase.generate, *([Phase.shrink] if thorough else [])],
        ),
    )


@pytest.mark.parametrize("seed", range(int(os.environ.get("FAULT_WALKS", "10"))))
def test_no_long_walk_pays_twice_or_loses_a_job(seed: int, settings: Settings) -> None:
    """Hypothesis prefers short runs; these are long ones. FAULT_WALKS sets how many there are."""
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]
    settings.SORA_CLOCK_SKEW = 1
    settings.JOB_GIVE_UP_AFTER = 10_000_000
    chance = random.Random(seed)
    machine = Service()
    machine.begin()
    steps: list[Callable[[], None]] = [
        lambda: machine.call_off(chance.randrange(50)),
        lambda: machine.ask_again(chance.randrange(50)),
        machine.send,
        lambda: machine.send_in_vain(chance.choice(sorted(REFUSALS))),
        lambda: machine.send_and_hear_nothing(chance.choice(sorted(AFTERMATHS)), chance.random() < 0.7),
        machine.crash_between_the_claim_and_the_post,
        machine.answer_after_the_lease,
        lambda: machine.time_passes(chance.choice([0.5, 3, 3, 20])),
        machine.work,
        machine.work,
        machine.work_while_the_list_is_away,
        lambda: machine.a_render_goes_on(chance.randrange(50), chance.choice([*VideoPhase])),
    ]
    try:
        for _ in range(80):
            chance.choice(steps)()
            machine.each_submission_is_paid_at_most_once()
            machine.each_job_is_paid_at_most_as_often_as_it_was_asked_for()
    finally:
        machine.teardown()
