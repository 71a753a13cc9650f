"""What callers, operators, the upstream, crashes and clocks can do: the rules of the state machine."""

import functools
import inspect
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NoReturn
from unittest.mock import patch
from uuid import UUID

from hypothesis import strategies
from hypothesis.stateful import initialize, rule

from tests.faults.machine_ledger import Terms
from tests.faults.machine_world import World
from tests.videos.sending import claim_next
from upstreams.client import errors
from upstreams.client.types import Phase, VideoPage
from upstreams.clock import database_now
from upstreams.offer.request import VideoRequest
from videos.lifecycle.create import create
from videos.lifecycle.following.poll import NotSyncable, UpstreamUnavailable, ask_now
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.notification import apply_notification
from videos.models import Submission
from videos.reconciliation import decisions
from videos.states import JOB_OPEN

# Few jobs, so that much happens to each; two requests, so that jobs look alike on the upstream's list.
_MAX_JOBS: Final = 5
_DURATIONS: Final = {"a boat": 4, "a kite": 8}
_REFUSALS: Final[dict[str, Callable[[], errors.SoraError]]] = {
    "not sent": lambda: errors.NotSent("refused"),
    "busy": lambda: errors.Busy("429", retry_after=3),
    "misconfigured": lambda: errors.Misconfigured("401", status=401),
    "rejected": lambda: errors.Rejected("no", status=400),
    "lost on the way": lambda: errors.OutcomeUnknown("reset"),
    "500 unmade": lambda: errors.OutcomeUnknown("500", answered=True),
    "503 unmade": lambda: errors.OutcomeUnknown("503", answered=True, retry_after=20),
}
_BRIEFLY: Final = ["3 s", "20 s", "look", "cancel", "retry", "send"]
_MEANWHILE: Final = [*_BRIEFLY, "the lease", "finish", "a mistake", "a downtime"]


def _up_to_three(actions: Sequence[str]) -> list[tuple[str, ...]]:
    return [each for length in (1, 2, 3) for each in itertools.product(actions, repeat=length)]


# What the arguments of a step are chosen from, by Hypothesis or by a walk.
CHOICES: Final[dict[str, Sequence[Any]]] = {
    "prompt": sorted(_DURATIONS),
    "key": ["k-1", "k-2"],
    "pick": range(50),
    "other": range(50),
    "refusal": sorted(_REFUSALS),
    "silence": ["dropped", "500", "crash"],
    "ending": ["heard", "dropped", "500", "crash"],
    "video": ["", "late", "late", "odd", "reused"],
    "dies": [False, True],
    # Shorter than the lease and the whole window: what arrives after those may be paid twice.
    "briefly": _up_to_three([*_BRIEFLY, "the lease"]),
    "meanwhile": _up_to_three(_MEANWHILE),
    "before": [(), ("finish", "sweep"), ("cancel",), ("finish", "sweep", "cancel")],
    "then": [(), ("retry",), ("retry", "send")],
    "call": ["list", "retrieve", "download", "delete"],
    "seconds": [0.5, 3, 20, 40],
    "fault": ["doubled", "reversed", "an entry is left out", "unreadable", "without a date"],
    "downtime": [0, 700, 3_000, 7_000],
    "away": [(3,), (20, 40), (20, 70, 70), (3, 20, 70, 70, 70, 700)],
    "retry_after": [None, 3, 600],
    "whose": ["ours", "nobody's yet", "never was"],
    "phase": [Phase.COMPLETED, Phase.RUNNING, Phase.FAILED, Phase.CANCELLED],
}
STEPS: Final[list[Callable[..., None]]] = []


def names(step: Callable[..., None]) -> list[str]:
    """The arguments of a step."""
    return list(inspect.signature(step).parameters)[1:]


def step(function: Callable[..., None]) -> Callable[..., None]:
    """A rule for Hypothesis, and a step for walks."""

    @functools.wraps(function)
    def taken(self: World, **given: Any) -> None:
        self.sound = False
        function(self, **given)
        self.nothing_is_lost_or_swapped()
        self.sound = True

    STEPS.append(taken)
    choices: Any = {name: strategies.sampled_from(CHOICES[name]) for name in names(function)}
    as_rule: Callable[..., None] = rule(**choices)(taken)  # type: ignore[no-untyped-call]
    return as_rule


class Service(World):
    """The steps: by callers, operators, senders, workers, time and the upstream."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        # Of each key, the prompt that it first came with, and the answer.
        self.keys: dict[str, tuple[str, Any]] = {}

    @initialize()
    def begin(self) -> None:
        for prompt in ("a boat", "a boat", "a kite"):
            self.ask(prompt=prompt)

    @step
    def ask(self, prompt: str) -> None:
        if len(self.given) < _MAX_JOBS:
            request = VideoRequest(prompt, duration=_DURATIONS[prompt])
            self._note(create(request, owner=self.owner, api_key=None).pk, prompt)

    @step
    def ask_under_a_key(self, key: str, prompt: str, dies: bool) -> None:
        """The first request may die before its commit; after that, each one is answered as the first was."""
        known = self.keys.get(key)
        if known is None and len(self.given) >= _MAX_JOBS:
            return
        body = json.dumps({"prompt": prompt, "duration": _DURATIONS[prompt]})
        with self._process(), patch("videos.api.views.create", self._create_and_die if dies else create):
            answer: Any = self.api.post(
                "/api/v1/videos", body, content_type="application/json", headers={"idempotency-key": key}
            )
            replayed = answer.headers.get("Idempotent-Replayed")
            if known is None:
                assert (answer.status_code, replayed) == (201, None)
                self.keys[key] = prompt, answer.json()
                self._note(UUID(answer.json()["data"]["jobId"]), prompt)
            elif known[0] == prompt:
                assert (answer.status_code, replayed, answer.json()) == (201, "true", known[1])
            else:
                assert answer.status_code == 422

    def _create_and_die(self, *given: Any, **named: Any) -> NoReturn:
        create(*given, **named)
        self._die()

    @step
    def call_off(self, pick: int) -> None:
        self._cancel(self._job(pick, JOB_OPEN))

    @step
    def ask_again(self, pick: int) -> None:
        self._retry(self._job(pick, ["failed", "cancelled"]))

    @step
    def ask_after_it_now(self, pick: int) -> None:
        with suppress(NotSyncable, UpstreamUnavailable):
            ask_now(self._job(pick))

    @step
    def adopt(self, pick: int, other: int) -> None:
        """An operator: of all ids, a submission can only be given its own."""
        open_to_it = {"unknown", "absent", "given_up"}
        submissions, videos = Submission.objects.order_by("pk"), list(self.sora.videos)
        if pick % 5:
            # Mostly those that it can be about.
            submissions = submissions.filter(upstream_id=None, state__in=open_to_it)
            videos = [video_id for video_id in videos if video_id not in self.sora.owned()]
        if not submissions or not videos:
            return
        submission, video_id = submissions[pick % len(submissions)], videos[other % len(videos)]
        right = self.sora.makers[video_id].pk == submission.pk and video_id not in self.sora.odd
        right = right and submission.upstream_id is None and submission.state in open_to_it
        # Of an upstream that does not know us nothing is taken.
        right = right and self.upstream.provider().unrecognized_at is None
        try:
            adopted = decisions.adopt(submission, video_id)
        except decisions.Refused:
            adopted = False
        assert adopted == right, f"{submission} and {video_id}"

    @step
    def declare_absent(self, pick: int) -> None:
        """An operator who has looked: only what the upstream never made."""
        made = [maker.pk for maker in self.sora.makers.values()]
        if unmade := list(Submission.objects.filter(state="unknown").exclude(pk__in=made)):
            decisions.declare_absent(unmade[pick % len(unmade)])

    @step
    def send(self) -> None:
        self._send()

    @step
    def send_in_vain(self, refusal: str) -> None:
        def refuse(job_id: UUID | None) -> NoReturn:
            raise _REFUSALS[refusal]()

        with self._process(POST=refuse):
            self._send()

    @step
    def send_and_hear_nothing(self, silence: str, video: str) -> None:
        self.sora.next_is = video
        with self._process(create=lambda _: self._answer(silence)):
            self._send()

    @step
    def send_and_hear_late(self, meanwhile: tuple[str, ...], ending: str) -> None:
        def beside(job_id: UUID | None) -> None:
            self._happen(meanwhile, job_id)
            self._answer(ending)

        with self._process(create=beside):
            self._send()

    @step
    def be_held_up_before_the_post(self, briefly: tuple[str, ...], ending: str, video: str) -> None:
        # One that does not match and is younger than the lease as well is nobody's.
        longer = "the lease" in briefly or briefly.count("20 s") > 1
        self.sora.next_is = "" if video == "odd" and longer else video
        with self._process(
            POST=lambda job_id: self._happen(briefly, job_id), create=lambda _: self._answer(ending)
        ):
            self._send()

    @step
    def be_held_up_after_the_claim(self, meanwhile: tuple[str, ...], ending: str) -> None:
        """And come back, or crash there."""
        if submission := claim_next(self.upstream):
            self._happen(meanwhile, submission.job_id)
            if ending != "crash":
                self._post(submission)

    @step
    def work(self) -> None:
        self._work()

    @step
    def sweep(self) -> None:
        sweep(self.upstream)

    @step
    def work_and_crash(self, pick: int, before: tuple[str, ...], call: str, then: tuple[str, ...]) -> None:
        """After the upstream did what it was asked, and before that is recorded."""
        job_id = self._job(pick, ["processing"]).pk
        self._happen(before, job_id)
        with self._process(**{call: lambda _: self._die()}):
            self._work()
        self._happen(then, job_id)

    @step
    def work_beside_others(
        self, pick: int, before: tuple[str, ...], call: str, meanwhile: tuple[str, ...]
    ) -> None:
        self._happen(before, self._job(pick, ["processing"]).pk)
        with self._process(**{call: lambda job_id: self._happen(meanwhile, job_id)}):
            self._work()

    @step
    def work_while_the_upstream_is_away(self, downtime: float, retry_after: float | None) -> None:
        self.sora.be_away(errors.Unavailable("502", retry_after=retry_after))
        self._work()
        self._pass(downtime)
        self._work()
        self.sora.be_away(None)

    @step
    def take_a_webhook(self, whose: str, pick: int) -> None:
        """However often it comes, it makes attempts due, and nothing else."""
        known = self.sora.owned()
        ids = {"ours": known, "nobody's yet": set(self.sora.makers) - known, "never was": {"video_never"}}
        if not ids[whose]:
            return
        video_id = sorted(ids[whose])[pick % len(ids[whose])]
        before, now = _rows(), database_now()
        apply_notification(video_id, provider=self.upstream.name)
        assert not apply_notification(video_id, provider=self.upstream.name)
        for (due_at, *was), (due_at_now, *became) in zip(before, _rows(), strict=True):
            assert was == became, f"{was} became {became}"
            sooner = due_at_now and now <= due_at_now < due_at and was[1] in {"unknown", "rendering"}
            assert sooner or due_at == due_at_now, f"{was} is due at {due_at_now}"

    @step
    def time_passes(self, seconds: float) -> None:
        self._pass(seconds)

    @step
    def everything_is_down(self, downtime: float) -> None:
        self._pass(downtime)

    @step
    def a_render_goes_on(self, pick: int, phase: Phase) -> None:
        if running := self.sora.running():
            video_id = running[pick % len(running)]
            if phase == Phase.COMPLETED:
                self.sora.complete(video_id)
            else:
                self.sora.set(video_id, phase)

    @step
    def a_video_is_called_expired(self, pick: int) -> None:
        """One that we know to be completed: of others, SORA_BILLS_FAILED says what they cost."""
        rendering = Submission.objects.filter(state="rendering").values_list("upstream_id", flat=True)
        done = sorted((self.sora.owned() - set(rendering)) & self.sora.completed())
        if done:
            self.sora.set(done[pick % len(done)], Phase.EXPIRED)

    @step
    def another_account_answers(self, away: tuple[float, ...]) -> None:
        """Under the same name, until that is mended: it knows none of ours, and ends nothing of ours."""
        comparable = Submission.objects.filter(
            state__in=["rendering", "rendered", "stored", "failed", "given_up"],
            upstream_id__in=list(self.sora.videos),
        )
        if self.upstream.provider().losses_accepted_at is not None or not comparable.exists():
            # Without an id that it would know, it cannot be told from the right one.
            return
        ended = {"lost", "failed", "dropped"}
        before = set(Submission.objects.filter(state__in=ended).values_list("pk", flat=True))
        with self.sora.another_account():
            for seconds in away:
                self._pass(seconds)
                self._work()
        after = set(Submission.objects.filter(state__in=ended).values_list("pk", flat=True))
        # Unless we had sent its DELETE before, which had no answer.
        ended_by_it = Submission.objects.filter(pk__in=after - before).exclude(error_code="delete_sent")
        assert not ended_by_it, f"ended by another account: {list(ended_by_it)}"

    @step
    def send_and_be_given_an_id_again(self) -> None:
        self.sora.next_is = "reused"
        self._send()

    @step
    def the_list_is_jumbled(self, fault: str, pick: int) -> None:
        """Whatever it shows wrongly for a moment, nothing is paid or lost by it.

        What is left out is ours: a video that nobody owns would be paid again.
        """
        ours = sorted(self.sora.owned() & self.sora.videos.keys())
        left_out = ours[pick % len(ours)] if ours else ""
        self.sora.jumble = functools.partial(_jumbled, fault, left_out)
        self._work()
        self.sora.jumble = lambda page: page

    @step
    def an_unanswered_create_is_forgotten(self, pick: int) -> None:
        """By an upstream that shows all else: the job is sent once more, and after that a person decides."""
        here = sorted(self.sora.makers.keys() & self.sora.videos.keys() - self.sora.owned())
        unknown = Submission.objects.filter(state="unknown").in_bulk(
            [self.sora.makers[each].pk for each in here]
        )
        if here := [each for each in here if self.sora.makers[each].pk in unknown]:
            video_id = here[pick % len(here)]
            submission = unknown[self.sora.makers[video_id].pk]
            self.sora.forget(video_id)
            before = submission.job.submissions.filter(
                pk__in=self.mistaken, created_at__gte=submission.job.asked_at
            )
            if not before.exists():
                self.asked.add(submission.job_id)
            self.mistaken.add(submission.pk)

    @step
    def a_video_is_missing(self, pick: int) -> None:
        """For a moment; the second time for good. Only one that we own: another would be paid twice."""
        if here := sorted(self.sora.owned() & self.sora.videos.keys()):
            with self.sora.missing(here[pick % len(here)]):
                self._work()


def _jumbled(fault: str, left_out: str, page: VideoPage) -> VideoPage:
    shown = list(page.videos)
    match fault:
        case "doubled":
            shown = [video for video in shown for _ in range(2)]
        case "reversed":
            shown.reverse()
        case "an entry is left out":
            shown = [video for video in shown if video.id != left_out]
        case "unreadable":
            return replace(page, unreadable=1)
        case "without a date":
            shown = [replace(video, created_at=None) for video in shown]
    return replace(page, videos=tuple(shown))


def _rows() -> list[tuple[Any, ...]]:
    fields = (
        "due_at",
        "pk",
        "state",
        "upstream_id",
        "attempts",
        "missing_polls",
        "cost_state",
        "job__status",
    )
    return list(Submission.objects.order_by("pk").values_list(*fields))
