"""A service before its upstream: what goes on in it, crashes, time, and what must hold."""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NoReturn
from unittest.mock import patch
from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.test import Client
from hypothesis.stateful import RuleBasedStateMachine

from accounts.models import ApiKey, IdempotencyKey, Reservation, Spending, User
from tests.faults import machine_ledger as books
from tests.faults.machine_ledger import Ledger, Terms, has_file
from tests.videos.sending import claim_next, send
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.types import CreateRequest
from upstreams.clock import database_now
from upstreams.models import Call, Provider
from upstreams.offer.catalogue import SORA
from upstreams.registry import Upstream, Upstreams
from videos.lifecycle.cancel import NotCancellable, cancel
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import NotRetryable, retry
from videos.models import Job, Submission, UsageCount
from videos.queue import providers
from videos.queue.attend import attend
from videos.queue.dispatch import all_due_work, probe
from videos.reconciliation import decisions
from videos.reconciliation.audit import audit, audit_if_due
from videos.states import JOB_OPEN, LIVE, JobStatus, SubmissionState
from videos.usage import count as usage_count

LEASE_SECONDS: Final = 30
# Far more than it takes until all rests.
_MAX_ROUNDS: Final = 150
# After a paid attempt in these, a job that is asked for again is paid again.
_DONE_WITH: Final = frozenset({"failed", "lost", "dropped", "given_up"})
_SECONDS: Final = {"3 s": 3, "20 s": 20, "the lease": LEASE_SECONDS + 1, "a downtime": 7_000}


class Crash(BaseException):
    """The process is gone: nothing of ours catches it."""


class World(RuleBasedStateMachine):
    """One service with one upstream, whose every paid create is judged as it arrives."""

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self.sora = Ledger(terms, self._judge)
        client: Any = self.sora
        self.upstream = Upstream(
            "scripted",
            client,
            terms.dialect,
            SORA,
            3,
            deadline=10,
            lease=LEASE_SECONDS,
            bills_failed=terms.bills_failed,
        )
        self.owner, _ = User.objects.get_or_create(username="ada")
        self.api = Client(headers={"x-api-key": ApiKey.issue(self.owner, "machine")[1]})
        # The clock, and what stands in for the configured upstream.
        self.stack = ExitStack()
        self.stack.enter_context(
            patch("upstreams.registry.configured", lambda: Upstreams.only(self.upstream))
        )
        # What each job is to show.
        self.given: dict[UUID, str] = {}
        # Pending jobs for which nothing was paid since they were asked for.
        self.asked: set[UUID] = set()
        # Submissions that had been paid, and that an operator declared absent or the upstream forgot.
        self.mistaken: set[int] = set()
        self.settled: set[int] = set()
        self.dead = False
        # Whether no step has failed.
        self.sound = True

    def teardown(self) -> None:
        try:
            if self.sound:
                self.end_well()
        finally:
            self.stack.close()
            Job.objects.all().delete()
            Provider.objects.all().delete()
            IdempotencyKey.objects.all().delete()
            Reservation.objects.all().delete()
            Spending.objects.all().delete()
            UsageCount.objects.all().delete()

    def _job(self, pick: int, statuses: Collection[str] = ()) -> Job:
        """One of these statuses, mostly, if there is any."""
        jobs = list(Job.objects.order_by("id"))
        some = [job for job in jobs if job.status in statuses and pick % 5]
        return (some or jobs)[pick % len(some or jobs)]

    def _note(self, job_id: UUID, prompt: str) -> None:
        self.given[job_id] = prompt
        self.asked.add(job_id)

    def _pass(self, seconds: float) -> None:
        """Time in which the workers work."""
        self.stack.enter_context(worked(seconds))

    def _cancel(self, job: Job) -> None:
        try:
            cancel(job)
        except NotCancellable:
            job.refresh_from_db()
            assert job.status not in JOB_OPEN, job

    def _retry(self, job: Job) -> None:
        last = job.submissions.order_by("number").last()
        live = job.submissions.filter(state__in=LIVE).first()
        given_up = last is not None and last.state == "given_up" and last.upstream_id is not None
        goes_on = (
            live.state in {"rendering", "rendered"}
            if live
            else given_up or (last is not None and has_file(last))
        )
        try:
            status = retry(job).status
        except NotRetryable:
            assert job.status not in {JobStatus.FAILED, JobStatus.CANCELLED}, job
            return
        assert status == JobStatus.PROCESSING or not goes_on, f"{job} does not go on with what it has"
        if status == JobStatus.PENDING:
            self.asked.add(job.pk)

    def _declare_absent_by_mistake(self, job_id: UUID | None) -> None:
        """An operator is impatient with a create whose answer is still on its way."""
        self._pass(LEASE_SECONDS + 1)
        self._work()
        made = [maker.pk for maker in self.sora.makers.values() if maker.job_id == job_id]
        for submission in Submission.objects.filter(state="unknown", pk__in=made):
            decisions.declare_absent(submission)
            self.mistaken.add(submission.pk)
            self.asked.add(submission.job_id)

    def _send(self) -> bool:
        submission = claim_next(self.upstream)
        if submission is not None:
            self._post(submission)
        return submission is not None

    def _post(self, submission: Submission) -> None:
        self.sora.sender = submission
        send(submission, self.upstream)

    def _work(self) -> None:
        """What a look finds, but for sending; and what has ended is counted."""
        usage_count.count_some()
        for due in all_due_work():
            match due.task:
                case "sweep":
                    sweep(self.upstream)
                case "probe":
                    probe(self.upstream)
                case "audit":
                    audit_if_due(self.upstream)
                case "attend":
                    assert due.kind is not None
                    attend(self.upstream, due.kind)

    @contextmanager
    def _process(self, **beside: Callable[[UUID | None], None]) -> Iterator[None]:
        """A process beside whose calls things happen, and that a crash ends.

        Nothing of it reaches the database after that.
        """
        self.sora.beside |= beside
        try:
            with connection.execute_wrapper(self._unless_dead):
                yield
        except Crash:
            pass
        finally:
            self.dead = False
            self.sora.beside.clear()

    def _unless_dead(self, execute: Callable[..., Any], *given: Any) -> Any:
        if self.dead:
            raise Crash
        return execute(*given)

    def _die(self) -> NoReturn:
        self.dead = True
        raise Crash

    def _answer(self, ending: str) -> None:
        """How the upstream's answer to a create ends."""
        match ending:
            case "crash":
                self._die()
            case "dropped":
                raise errors.OutcomeUnknown("reset")
            case "500":
                raise errors.OutcomeUnknown("500", answered=True)

    def _happen(self, actions: tuple[str, ...], job_id: UUID | None) -> None:
        """What goes on elsewhere while a call about a job, or about none, is on its way."""
        for action in actions:
            job = Job.objects.get(pk=job_id) if job_id else self._job(0)
            match action:
                case "look":
                    self._work()
                case "sweep":
                    sweep(self.upstream)
                case "send":
                    self._send()
                case "cancel":
                    self._cancel(job)
                case "retry":
                    self._retry(job)
                case "finish":
                    self._finish(job_id)
                case "a mistake":
                    self._declare_absent_by_mistake(job_id)
                case _:
                    self._pass(_SECONDS[action])

    def _finish(self, job_id: UUID | None = None) -> None:
        for video_id in self.sora.running(job_id):
            self.sora.complete(video_id)

    def _judge(self, sender: Submission, request: CreateRequest) -> None:
        """A paid create: the first of its submission, for a job that was asked for since the last one.

        What was paid for the job before has ended, and was not called absent while it was there.
        """
        assert sender.pk not in {maker.pk for maker in self.sora.makers.values()}, f"{sender} is sent twice"
        assert request.prompt == self.given[sender.job_id], f"{sender} is another request than its job's"
        assert sender.job_id in self.asked, f"{sender} is paid again, and nobody asked for it again"
        self.asked.remove(sender.job_id)
        for maker in self.sora.makers.values():
            if maker.job_id == sender.job_id:
                earlier = Submission.objects.get(pk=maker.pk)
                allowed = _DONE_WITH | ({"absent"} if maker.pk in self.mistaken else set())
                assert earlier.state in allowed, f"{sender} is paid beside {earlier}"

    def nothing_is_lost_or_swapped(self) -> None:
        """Jobs are there once, videos with who made them; what is settled stays so; what waits has a date."""
        statuses = dict(Job.objects.values_list("pk", "status"))
        assert statuses.keys() == self.given.keys(), "a job is lost, or was made twice"
        self.asked = {pk for pk in self.asked if statuses[pk] == JobStatus.PENDING}
        rows = list(Submission.objects.all())
        settled = {each.pk for each in rows if each.cost_state == "settled"}
        assert self.settled <= settled, f"no longer settled: {self.settled - settled}"
        self.settled = settled
        books.usage_agrees(self.owner)
        for each in rows:
            if each.upstream_id is not None:
                maker = self.sora.makers[self.sora.key_of(each)]
                assert maker.pk == each.pk, f"{each} has the video of another"
            if each.state in LIVE and each.due_at is None:
                # Without a list, a person decides.
                assert each.state == "unknown", f"{each} has no date"
                assert not self.upstream.dialect.lists, f"{each} has no date"

    def end_well(self) -> None:
        """With a well upstream and time all ends; what a person decides or retries then is completed."""
        self._come_to_rest()
        for video_id in books.orphans(self.sora, self.mistaken):
            maker, odd = self.sora.makers[video_id], video_id in self.sora.odd
            assert decisions.adopt(maker, video_id, force=odd), f"{maker} is denied {video_id}"
        # Each may find that the attempt with which it goes on has failed; then there is one less.
        while again := list(Job.objects.exclude(status=JobStatus.COMPLETED)):
            attempts = Submission.objects.filter(state=SubmissionState.GIVEN_UP).count()
            for job in again:
                self._retry(job)
            self._come_to_rest()
            if not attempts:
                break
        left = [
            (str(job), job.error_code, list(job.submissions.all()))
            for job in Job.objects.exclude(status=JobStatus.COMPLETED)
        ]
        assert not left, f"a dead end: {left}"
        assert not books.orphans(self.sora, ()), "an orphan"

    def _come_to_rest(self) -> None:
        waiting = Submission.objects.filter(Q(state__in=LIVE) | Q(due_at__isnull=False))
        for _ in range(_MAX_ROUNDS):
            self._pass(self._until_something_is_due())
            self._finish()
            self._mend()
            while self._send():
                pass
            self._work()
            self.nothing_is_lost_or_swapped()
            if not Job.objects.filter(status__in=JOB_OPEN).exists() and not waiting.exists():
                break
        open_jobs = Job.objects.filter(status__in=JOB_OPEN)
        assert not [*open_jobs, *waiting], f"unfinished: {[*open_jobs, *waiting]}"
        books.books_agree(self.sora, self.mistaken)
        books.budgets_agree()
        books.losses_are_real(self.sora)
        books.videos_are_where_they_belong(self.sora, self.given)
        books.histories_follow_the_tables()
        orphans = books.orphans(self.sora, self.mistaken)
        if self.upstream.dialect.lists:
            # Old enough to be one, and shown.
            self._pass(self.sora.terms.lag + 120)
            assert {video.id for video in audit(self.upstream).orphans} == orphans, "an audit misses some"

    def _mend(self) -> None:
        """An operator lets a stopped upstream go on, and says that what it does not know is lost, if so."""
        probe(self.upstream)
        provider = self.upstream.provider()
        if provider.unrecognized_at is not None or provider.stopped_at is not None:
            providers.resume(self.upstream.name, accept_losses=provider.unrecognized_at is not None)

    def _until_something_is_due(self) -> float:
        """Seconds, at least 30: what has no date at all is never waited for."""
        now, provider = database_now(), self.upstream.provider()
        moments = [
            provider.sending_backoff_until,
            *(provider.backoff_until(call) for call in Call),
            provider.probe_due_at,
            provider.sweep_due_at,
        ]
        moments += Job.objects.filter(status=JobStatus.PENDING).values_list("due_at", flat=True)
        for due_at, give_up_at, state in Submission.objects.values_list("due_at", "give_up_at", "state"):
            # What is due already is seen to in the next round.
            moments += [max(due_at, now) if due_at else None, give_up_at if state in LIVE else None]
        ahead = [(moment - now).total_seconds() for moment in moments if moment is not None and moment >= now]
        return max(30, min(ahead, default=0) + 1)
