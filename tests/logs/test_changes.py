"""Each change of state is one line, once it is committed, about its job and from its request."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from structlog.contextvars import bound_contextvars, get_contextvars

import batches.tasks
from api.logs.events import LogEvent
from batches.lifecycle.cancel import BatchNotCancellable, cancel_batch, cancel_jobs
from batches.lifecycle.pause import pause, resume
from tests.batches.conftest import MakeBatch, Renders
from tests.configured import configure
from tests.log_lines import Lines
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.webhooks.signing import SECRET, event, send
from upstreams.client import errors
from upstreams.client.types import CreateRequest
from upstreams.clock import shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel, drop
from videos.lifecycle.following.poll import ask
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.outcomes import fail
from videos.lifecycle.retry import retry
from videos.models import Job, Submission, locked
from videos.queue import providers
from videos.queue.attend import attend_to
from videos.queue.dispatch import probe
from videos.reconciliation.restored.books import forget_checks, may_create
from videos.reconciliation.restored.identity import doubt, recheck, record_reuse
from videos.reconciliation.restored.recovery import resume_if_recovered

pytestmark = pytest.mark.django_db(transaction=True)

MakeJob = Callable[..., Job]
_SAID_BY_ALL = {"timestamp", "level", "logger"}


def moves(lines: Lines, event: str) -> list[tuple[str, str]]:
    return [(line["from_state"], line["to_state"]) for line in lines(event)]


def only(job: Job) -> Submission:
    return Submission.objects.select_related("job", "provider").get(job=job)


def raising(error: errors.SoraError) -> Callable[..., None]:
    def before(*_: object) -> None:
        raise error

    return before


def test_a_job_is_told_from_its_request_to_its_file(
    api: Client, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    api.post("/api/v1/videos", {"prompt": "a boat"}, "application/json", headers={"x-request-id": "mine"})
    job = Job.objects.get()
    assert submit_next(upstream)
    submission = only(job)
    sora.complete(str(submission.upstream_id))
    sweep(upstream)
    attend_to(only(job), upstream)
    told = [
        (line["event"].split()[0], line["from_state"], line["to_state"])
        for line in lines()
        if line["event"].endswith("changed")
    ]
    assert told == [
        ("job", "", "pending"),
        ("submission", "", "sending"),
        ("submission", "sending", "rendering"),
        ("job", "pending", "processing"),
        ("submission", "rendering", "rendered"),
        ("submission", "rendered", "stored"),
        ("job", "processing", "completed"),
    ]
    for line in lines():
        assert line["request_id"] == "mine"
        assert line["owner"] == job.owner_id
        if line["event"] != LogEvent.REQUEST:
            assert line["job_id"] == str(job.pk)
            assert line["level"] == "info"
    for line in lines(LogEvent.SUBMISSION):
        assert (line["submission"], line["provider"]) == (f"{job.pk}/1", "scripted")
    assert get_contextvars() == {}


def test_nothing_is_said_of_what_is_rolled_back(make_job: MakeJob, lines: Lines) -> None:
    job = make_job()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        fail(Job.lock(pk=job.pk), "broken", "It broke.")
        assert lines(LogEvent.JOB)[1:] == [], "and nothing before it is committed"
        raise ZeroDivisionError
    assert moves(lines, LogEvent.JOB) == [("", "pending")]


def test_a_failure_is_a_warning_with_its_cause(
    job: Job, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    assert submit_next(upstream)
    sora.fail(str(only(job).upstream_id))
    sweep(upstream)
    for told in (LogEvent.SUBMISSION, LogEvent.JOB):
        line = lines(told)[-1]
        assert (line["level"], line["to_state"]) == ("warning", "failed")
        assert line["error_code"] == "moderation_blocked"
        assert line["error_message"] == "Your request was blocked."


@pytest.mark.parametrize(
    ("error", "state", "level", "said"),
    [
        (errors.Rejected("no", status=400), "rejected", "warning", {"error_message": "no"}),
        (errors.OutcomeUnknown("away"), "unknown", "warning", {"reason": "away"}),
        (errors.NotSent("refused"), "unsent", "info", {"reason": "refused"}),
    ],
)
def test_what_a_create_came_to_is_said_with_its_reason(
    job: Job,
    upstream: Upstream,
    sora: ScriptedClient,
    lines: Lines,
    error: errors.SoraError,
    state: str,
    level: str,
    said: dict[str, str],
) -> None:
    sora.before = raising(error)
    assert submit_next(upstream)
    line = lines(LogEvent.SUBMISSION)[-1]
    assert (line["to_state"], line["level"]) == (state, level)
    assert said.items() <= line.items()


def test_a_prompt_that_the_upstream_quotes_is_not_in_the_line(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    job = make_job('a "canary" that sings in the garden')
    with transaction.atomic():
        fail(Job.lock(pk=job.pk), "refused", f"We do not make {job.prompt!s}: {'x' * 600}")
    line = lines(LogEvent.JOB)[-1]
    assert line["error_message"].startswith("We do not make <redacted")
    assert len(line["error_message"]) < 510
    assert "canary" not in str(lines())


def test_two_jobs_in_one_sweep_are_told_apart(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    with bound_contextvars(request_id="first"):
        one = make_job()
    with bound_contextvars(request_id="second"):
        other = make_job()
    while submit_next(upstream):
        pass
    for job in (one, other):
        sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    found = {(line["job_id"], line["request_id"]) for line in lines(LogEvent.SUBMISSION)}
    assert found == {(str(one.pk), "first"), (str(other.pk), "second")}
    assert get_contextvars() == {}


def test_what_a_journey_warns_of_is_about_its_submission(
    job: Job, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    assert submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    sora.content = errors.Unavailable("away")
    attend_to(only(job), upstream)
    (warned,) = [line for line in lines() if line["level"] == "warning"]
    assert "did not come" in warned["event"]
    assert (warned["job_id"], warned["submission"]) == (str(job.pk), f"{job.pk}/1")


def test_a_journey_that_raises_says_on_which_job(
    job: Job, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    sora.before = bug
    assert submit_next(upstream)
    (line,) = [line for line in lines() if line["level"] == "error"]
    assert line["job_id"] == str(job.pk)
    assert "a bug" in line["exception"]


def test_a_job_that_cannot_be_claimed_is_named(
    job: Job, upstream: Upstream, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("videos.queue.claims.claim.last_measured", bug)
    assert not submit_next(upstream)
    (line,) = [line for line in lines() if line["level"] == "error"]
    assert line["job_id"] == str(job.pk)


def test_while_a_caller_waits_its_own_request_is_named(
    job: Job, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    Job.objects.update(request_id="the first")
    assert submit_next(upstream)
    submission = only(job)
    sora.complete(str(submission.upstream_id))
    with bound_contextvars(request_id="the caller"):
        ask(submission, upstream)
        assert get_contextvars() == {"request_id": "the caller"}
    said = [(line["to_state"], line["request_id"]) for line in lines(LogEvent.SUBMISSION)]
    assert said == [("sending", "the first"), ("rendering", "the first"), ("rendered", "the caller")]


def test_a_cancel_and_a_retry_are_lines(make_job: MakeJob, upstream: Upstream, lines: Lines) -> None:
    job = make_job()
    cancel(job)
    retry(job)
    assert moves(lines, LogEvent.JOB) == [("", "pending"), ("pending", "cancelled"), ("cancelled", "pending")]
    assert [line.get("by") for line in lines(LogEvent.JOB)] == [None, "caller", "caller"]


def test_a_drop_is_two_lines(job: Job, upstream: Upstream, sora: ScriptedClient, lines: Lines) -> None:
    assert submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    cancel(job)
    drop(only(job), upstream)
    assert moves(lines, LogEvent.SUBMISSION)[-2:] == [("rendered", "dropping"), ("dropping", "dropped")]


def test_a_batch_and_its_jobs_have_its_id(
    make_batch: MakeBatch, renders: Renders, upstream: Upstream, lines: Lines
) -> None:
    batch = make_batch(2)
    pause(batch)
    resume(batch)
    renders.run(batch, failing=("boat 1",))
    assert moves(lines, LogEvent.BATCH) == [
        ("", "created"),
        ("created", "paused"),
        ("paused", "resumed"),
        ("resumed", "partial"),
    ]
    assert lines(LogEvent.BATCH)[-1]["progress"]["completed"] == 1
    told = [line for event in (LogEvent.BATCH, LogEvent.JOB, LogEvent.SUBMISSION) for line in lines(event)]
    assert {line["batch_id"] for line in told} == {str(batch.pk)}
    assert {line["owner"] for line in told} == {batch.group.owner_id}


def test_jobs_that_are_cancelled_together_are_a_line_each(
    make_batch: MakeBatch, upstream: Upstream, lines: Lines
) -> None:
    batch = make_batch(3)
    cancel_batch(batch)
    cancelled = [line for line in lines(LogEvent.JOB) if line["to_state"] == "cancelled"]
    assert {line["job_id"] for line in cancelled} == {
        str(pk) for pk in Job.objects.values_list("pk", flat=True)
    }
    assert len(cancelled) == 3
    assert {(line["by"], line["from_state"]) for line in cancelled} == {("batch", "pending")}


def test_a_pause_of_the_upstream_is_told_once_and_so_is_its_end(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    make_job()
    sora.before = raising(errors.Misconfigured("the key is refused"))
    assert submit_next(upstream)
    with shifted(timedelta(seconds=400)):
        probe(upstream)
    begun, ended = lines(LogEvent.UPSTREAM)
    assert (begun["from_state"], begun["to_state"], begun["reason"]) == (
        "open",
        "paused",
        "the key is refused",
    )
    assert (ended["from_state"], ended["to_state"]) == ("paused", "open")
    assert begun["provider"] == ended["provider"] == "scripted"
    assert begun["level"] == "info"


def test_the_breaker_is_told_when_it_opens_and_when_it_closes(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, lines: Lines, settings: Any
) -> None:
    settings.SORA_BREAKER_FAILURES = 2
    sora.before = raising(errors.OutcomeUnknown("500"))
    for _ in range(3):
        make_job()
        Provider.objects.update(sending_backoff_until=None)
        assert submit_next(upstream)
    assert moves(lines, LogEvent.UPSTREAM) == [("open", "tripped")]
    sora.before = None
    make_job()
    Provider.objects.update(sending_backoff_until=None)
    assert submit_next(upstream)
    assert moves(lines, LogEvent.UPSTREAM) == [("open", "tripped"), ("tripped", "open")]


def test_a_stop_and_a_doubt_are_told_and_so_is_the_resume(
    job: Job, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    assert submit_next(upstream)
    provider = Provider.objects.get()
    providers.stop("scripted", "too dear")
    doubt(provider, "it knows nothing", only(job).created_at + timedelta(days=1))
    recheck(upstream)
    providers.resume("scripted")
    assert moves(lines, LogEvent.UPSTREAM) == [
        ("open", "stopped"),
        ("open", "unrecognized"),
        ("unrecognized", "open"),
        ("stopped", "open"),
    ]
    assert lines(LogEvent.UPSTREAM)[0]["reason"] == "too dear"


# Threads that share a database of SQLite's in memory do not wait for each other.
@pytest.mark.postgres
def test_a_thread_that_stores_does_not_name_the_job_of_another(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    jobs = [make_job() for _ in range(2)]
    while submit_next(upstream):
        pass
    for job in jobs:
        sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    left: list[dict[str, object]] = []

    def run(job: Job) -> None:
        attend_to(only(job), upstream)
        left.append(get_contextvars())
        connection.close()

    threads = [threading.Thread(target=run, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == [{}, {}]
    stored = [line for line in lines(LogEvent.SUBMISSION) if line["to_state"] == "stored"]
    assert {line["job_id"] for line in stored} == {str(job.pk) for job in jobs}


def test_a_resume_does_not_end_a_doubt_that_stays(
    job: Job, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    assert submit_next(upstream)
    doubt(Provider.objects.get(), "it knows nothing", only(job).created_at)
    providers.resume("scripted")
    assert moves(lines, LogEvent.UPSTREAM) == [("open", "unrecognized")]
    providers.resume("scripted", accept_losses=True)
    assert moves(lines, LogEvent.UPSTREAM)[1:] == [("unrecognized", "open")]


def test_a_second_id_that_is_given_again_is_a_stop(upstream: Upstream, lines: Lines) -> None:
    for upstream_id in ("video_1", "video_2", "video_3"):
        record_reuse(upstream.provider(), upstream_id)
    assert moves(lines, LogEvent.UPSTREAM) == [("open", "stopped")]


def test_a_video_that_is_newer_than_our_books_is_a_stop_until_it_is_explained(
    job: Job, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    sora.add(CreateRequest(**job.fitted))
    forget_checks()
    assert not may_create(upstream)
    sora.videos.clear()
    assert resume_if_recovered(upstream)
    assert not resume_if_recovered(upstream)
    assert moves(lines, LogEvent.UPSTREAM) == [("open", "stopped"), ("stopped", "open")]


def test_what_is_logged_under_a_lock_is_about_the_submission(
    job: Job, upstream: Upstream, lines: Lines
) -> None:
    assert submit_next(upstream)
    with locked(only(job)):
        logging.getLogger("x").info("within")
    (line,) = lines("within")
    assert line["submission"] == f"{job.pk}/1"
    assert get_contextvars() == {}


def test_what_is_logged_while_a_batch_is_seen_to_is_about_it(
    make_batch: MakeBatch, upstream: Upstream, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(1)

    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("batches.lifecycle.cancel._cancel_pending", bug)
    with batches.tasks._isolated(batch):
        cancel_jobs(batch)
    (line,) = [line for line in lines() if line["level"] == "error"]
    assert line["batch_id"] == str(batch.pk)

    def say(*_: object) -> None:
        logging.getLogger("x").info("within")

    monkeypatch.setattr("batches.lifecycle.cancel._cancel_pending", say)
    with suppress(BatchNotCancellable):
        cancel_batch(batch)
    assert lines("within")[0]["batch_id"] == str(batch.pk)
    assert get_contextvars() == {}


def test_an_event_of_the_upstream_is_a_line_with_its_video(
    client: Client, upstream: Upstream, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, replace(upstream, webhook_secrets=(SECRET,)))
    assert send(client, event("video_1")).status_code == 204
    (line,) = lines(LogEvent.REQUEST)
    assert (line["provider"], line["upstream_id"]) == ("scripted", "video_1")
