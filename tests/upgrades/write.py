"""`python -m tests.upgrades.write VERSION`: the folder of a release, with rows in every state."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

import django

# Before anything of ours is imported: an empty SQLite database of this run alone.
_SCRATCH = tempfile.TemporaryDirectory(prefix="takeone-release-")
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "TAKEONE_VAR": _SCRATCH.name,
    "DATABASE_URL": "",
    "REDIS_URL": "",
}
django.setup()

from django.core.management import call_command  # noqa: E402
from videos.lifecycle.send import submit_next  # noqa: E402
from videos.queue.claim import claim  # noqa: E402

from accounts.models import ApiKey, Budget, IdempotencyKey, LoginAttempts, Session, User  # noqa: E402
from batches.items import Items, Listed  # noqa: E402
from batches.lifecycle.cancel import cancel_batch  # noqa: E402
from batches.lifecycle.create import create_batch  # noqa: E402
from batches.lifecycle.pause import pause, resume  # noqa: E402
from batches.lifecycle.retry import retry_failed  # noqa: E402
from batches.models import Batch  # noqa: E402
from batches.progress import BatchStatus  # noqa: E402
from health.models import Counter, Snapshot  # noqa: E402
from tests.upgrades import released, rows  # noqa: E402
from tests.videos.scripted import ScriptedClient, scripted  # noqa: E402
from upstreams import registry  # noqa: E402
from upstreams.client import errors  # noqa: E402
from upstreams.client.types import CreateRequest, Video  # noqa: E402
from upstreams.clock import database_now  # noqa: E402
from upstreams.models import ForeignVideo, Provider  # noqa: E402
from upstreams.offer.request import VideoRequest  # noqa: E402
from upstreams.registry import Upstream, Upstreams  # noqa: E402
from videos.lifecycle.cancel import cancel  # noqa: E402
from videos.lifecycle.create import create  # noqa: E402
from videos.lifecycle.following.sweep import sweep  # noqa: E402
from videos.lifecycle.outcomes import fail  # noqa: E402
from videos.lifecycle.retry import retry  # noqa: E402
from videos.models import Heartbeat, Job, Submission, locked  # noqa: E402
from videos.queue import heartbeats  # noqa: E402
from videos.queue.holds import hold_some  # noqa: E402
from videos.reconciliation.decisions import declare_absent  # noqa: E402
from videos.results.media import accept_media  # noqa: E402
from videos.results.store import store  # noqa: E402
from videos.states import COST_IN, CostState, JobStatus, SubmissionState  # noqa: E402

UPSTREAM: Final = "scripted"


class Rows:
    """Makes a job for each state, by what leads to it. The prompt of a job says which it is."""

    def __init__(self) -> None:
        self.upstream: Upstream = scripted(concurrency=1000)
        self.configure(self.upstream)
        client: object = self.upstream.client
        assert isinstance(client, ScriptedClient)
        self.client = client
        self.owner = User.objects.create_user("ada", email="ada@example.org")
        self.key, _ = ApiKey.issue(self.owner, "a program")

    @staticmethod
    def configure(upstream: Upstream) -> None:
        """Makes it the configured upstream."""
        found = Upstreams.only(upstream)
        registry.configured = lambda: found

    def job(
        self,
        prompt: str,
        *,
        owner: User | None = None,
        key: ApiKey | None = None,
        priority: str = "normal",
    ) -> Job:
        """A pending job."""
        asked = VideoRequest(prompt=prompt, metadata={"was": prompt}, priority=priority)
        key = key or (None if owner else self.key)
        return create(asked, owner=owner or self.owner, api_key=key)

    def batch(self, name: str, *prompts: str) -> Batch:
        """A batch of pending jobs."""
        items = Items(Listed([{"prompt": prompt} for prompt in prompts]), {}, self.owner)
        made = create_batch(items, owner=self.owner, api_key=self.key, name=name)
        return made.batch

    def sent(self, prompt: str) -> Submission:
        """A job that was sent, and its submission."""
        job = self.job(prompt)
        assert submit_next(self.upstream)
        # Whatever came of it, the next one is sent as well.
        Provider.objects.update(sending_backoff_until=None, sending_backoff_reason="", failures=0)
        return job.submissions.get()

    def failing(self, error: errors.SoraError) -> Callable[[CreateRequest], None]:
        def fails(request: CreateRequest) -> None:
            raise error

        return fails

    def answered_with(self, prompt: str, error: errors.SoraError) -> Submission:
        """A job of which the upstream took nothing, and said so or not."""
        self.client.before = self.failing(error)
        try:
            return self.sent(prompt)
        finally:
            self.client.before = None

    def accepted_without_an_answer(self, prompt: str) -> Submission:
        def drops(video: Video) -> Video:
            raise errors.OutcomeUnknown("no answer")

        self.client.after = drops
        try:
            return self.sent(prompt)
        finally:
            self.client.after = None

    def rendered(self, prompt: str) -> Submission:
        submission = self.sent(prompt)
        self.client.complete(str(submission.upstream_id))
        self.swept()
        submission.refresh_from_db()
        return submission

    def stored(self, submission: Submission) -> None:
        """Has it rendered and kept."""
        self.client.complete(str(submission.upstream_id))
        self.swept()
        submission.refresh_from_db()
        store(submission, self.upstream)

    def failed(self, submission: Submission) -> None:
        """Has the upstream fail it."""
        self.client.fail(str(submission.upstream_id))
        self.swept()

    def of_a_batch(self, prompt: str) -> Submission:
        """Sends the next job, which has this prompt."""
        assert submit_next(self.upstream)
        return Submission.objects.get(job__prompt=prompt)

    def swept(self) -> None:
        Submission.objects.filter(state=SubmissionState.RENDERING).update(due_at=database_now())
        Provider.objects.update(sweep_due_at=None)
        sweep(self.upstream)

    def ended(self, submission: Submission, state: SubmissionState, code: str) -> None:
        """Ends a submission at our own cost, and its job with it."""
        with locked(submission) as (job, submission):
            assert submission.move(state, cost_state=CostState.SETTLED, error_code=code, due_at=None)
            assert fail(job, code, "It did not come.")

    def make(self) -> None:
        """All rows."""
        self._ends()
        self._under_way()
        self._batches()
        self._accounts()
        self._upstreams()
        self._waiting()

    def _ends(self) -> None:
        store(self.rendered("stored"), self.upstream)
        self.failed(self.sent("failed"))
        self.configure(replace(self.upstream, bills_failed=True))
        self.failed(self.sent("failed at a price"))
        self.configure(self.upstream)
        self.ended(self.sent("lost"), SubmissionState.LOST, "upstream_lost")
        self.ended(self.sent("given up"), SubmissionState.GIVEN_UP, "gave_up")
        unknown = self.answered_with("given up without an id", errors.OutcomeUnknown("no answer"))
        self.ended(unknown, SubmissionState.GIVEN_UP, "gave_up")
        self.answered_with("rejected", errors.Rejected("no such size"))
        cancel(self.job("cancelled"))
        dropped = self.rendered("dropped")
        cancel(dropped.job)
        with locked(dropped) as (_, dropped):
            assert dropped.move(SubmissionState.DROPPING)
            assert dropped.move(SubmissionState.DROPPED)
        stopped = self.stopping("stopped")
        with locked(stopped) as (_, stopped):
            assert stopped.move(SubmissionState.DROPPED, cost_state=CostState.RELEASED)

    def stopping(self, prompt: str) -> Submission:
        """A render that is being stopped, and may not have to be paid."""
        submission = self.sent(prompt)
        cancel(submission.job)
        with locked(submission) as (_, submission):
            assert submission.move(SubmissionState.DROPPING, due_at=database_now())
        return submission

    def _under_way(self) -> None:
        self.sent("rendering")
        self.rendered("rendered")
        dropping = self.rendered("dropping")
        cancel(dropping.job)
        with locked(dropping) as (_, dropping):
            assert dropping.move(SubmissionState.DROPPING, due_at=database_now())
        self.stopping("stopping")
        given_up = self.sent("given up and asked for again")
        self.ended(given_up, SubmissionState.GIVEN_UP, "gave_up")
        retry(given_up.job)
        self.accepted_without_an_answer("unknown")

    def _batches(self) -> None:
        cancel_batch(self.batch("cancelled", "cancelled in a batch"))
        self.batch("completed", "stored in a batch")
        self.stored(self.of_a_batch("stored in a batch"))
        self.batch("failed", "failed in a batch")
        self.failed(self.of_a_batch("failed in a batch"))
        self.batch("partial", "stored beside a failed one", "failed beside a stored one")
        first, second = [self.of_a_batch(job.prompt) for job in self._pending("partial")]
        self.stored(first)
        self.failed(second)
        self.batch("processing", "rendering in a batch")
        self.of_a_batch("rendering in a batch")
        self.batch("reopened", "asked for again in a batch")
        self.failed(self.of_a_batch("asked for again in a batch"))
        pause(self.batch("paused", "paused in a batch"))

    def _pending(self, batch: str) -> list[Job]:
        return list(Job.objects.filter(group__batch__name=batch, status=JobStatus.PENDING).order_by("id"))

    def _accounts(self) -> None:
        now = database_now()
        for scope in (ApiKey.Scope.READ, ApiKey.Scope.ADMIN):
            ApiKey.issue(self.owner, f"scope {scope}", scope=scope)
        ApiKey.issue(self.owner, "expired", expires_at=now - timedelta(days=1))
        Budget.objects.create(owner=self.owner, period=Budget.Period.MONTH, limit=1000)
        Budget.objects.create(owner=self.owner, api_key=self.key, period=Budget.Period.DAY, limit=100)
        IdempotencyKey.objects.create(
            owner=self.owner, key="once", request_hash="0" * 64, status=201, answer="{}", headers={}
        )
        Session.objects.create(user=self.owner, password_mark="mark", expires_at=now + timedelta(days=1))
        LoginAttempts.objects.create(subject="user:ada", failures=2, counted_from=now, forget_at=now)

    def _upstreams(self) -> None:
        now = database_now()
        for role in Heartbeat.Role:
            heartbeats.record(role, worked=True)
        Counter.objects.create(name="http_requests", labels=["GET", "200"], value=7)
        Snapshot.objects.create(figures={"jobs": {"pending": 1}}, measured_at=now, took=0.1, due_at=now)
        accept_media()
        held_back = Provider.objects.create(
            name="held back", stopped_at=now, stop_reason="by hand", paused_at=now, pause_reason="no key",
            unrecognized_at=now, unrecognized_reason="it knows no id of ours", reused_ids=1, failures=3,
            sending_backoff_until=now, list_backoff_until=now, clock_low=-1.5, clock_high=0.5, clock_at=now,
        )  # fmt: skip
        ForeignVideo.objects.create(provider=held_back, upstream_id="video_of_another")

    def _waiting(self) -> None:
        """What is sent once work goes on. Last, because every claim would take it."""
        absent = self.answered_with("absent", errors.OutcomeUnknown("no answer"))
        declare_absent(absent)
        Job.objects.filter(pk=absent.job_id).update(due_at=database_now() + timedelta(minutes=1))
        self.answered_with("unsent", errors.NotSent("no connection"))
        self.job("sending")
        assert claim(self.upstream)
        self.job("pending", priority="low")
        self.job("urgent", priority="high")
        resumed = self.batch("pending", "pending in a batch")
        pause(resumed)
        resume(resumed)
        assert retry_failed(Batch.objects.get(name="reopened"), api_key=self.key)
        self._held()

    def _held(self) -> None:
        """What waits, and is not sent."""
        key, _ = ApiKey.issue(self.owner, "revoked")
        held = self.job("of a revoked key", key=key)
        key.revoke()
        hold_some(Job.objects.filter(pk=held.pk), key.pk)
        deactivated = User.objects.create_user("deactivated")
        self.job("of a deactivated account", owner=deactivated)
        deactivated.is_active = False
        deactivated.save()


def check() -> None:
    """Nothing that a release can hold is missing."""
    for model in rows.our_models():
        assert model._default_manager.exists(), f"no row of {model._meta.label}"
        for field in model._meta.concrete_fields:
            choices = {value for value, _ in field.flatchoices}
            found = model._default_manager.filter(**{f"{field.name}__in": choices})
            missing = choices - set(found.values_list(field.name, flat=True))
            assert not missing, f"no row of {model._meta.label} with {field.name} {missing}"
    costs = set(Submission.objects.values_list("state", "cost_state"))
    assert costs == {(state, cost) for state, allowed in COST_IN.items() for cost in allowed}
    tally = {batch.name for batch in Batch.objects.all()}
    assert tally >= set(BatchStatus), tally


def main() -> None:
    """Writes the folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.upgrades.write", description=__doc__)
    parser.add_argument("version")
    folder = released.FOLDER / parser.parse_args().version
    call_command("migrate", verbosity=0)
    Rows().make()
    check()
    folder.mkdir(exist_ok=True)
    rows.write(folder / "rows.sql")
    listed = (f"{digest}  {path}\n" for path, digest in released.migrations().items())
    (folder / "migrations.sha256").write_text("".join(listed))


if __name__ == "__main__":
    sys.exit(main())
