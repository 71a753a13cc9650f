import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from pytest_django import Settings

from tests.api.test_idempotency import waits_for_a_lock
from tests.configured import configure
from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import claim_next, submit_next
from tests.videos.test_reconcile import dropped, search_at, through_the_window
from tests.videos.test_submit import only, raising
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.client.types import CreateRequest, Video
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.outcomes import accept
from videos.lifecycle.retry import retry
from videos.models import Job, JobEvent, Submission, locked
from videos.queue import providers
from videos.queue.attend import attend_to
from videos.reconciliation import decisions

pytestmark = pytest.mark.django_db

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _window(settings: Settings, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]
    settings.SORA_PROVIDER = "scripted"
    configure(monkeypatch, upstream)


@pytest.fixture
def unknown(job: Job, upstream: Upstream, sora: ScriptedClient) -> Submission:
    """A create without an answer, of which the upstream knows nothing."""
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    sora.before = None
    assert only(job).state == "unknown"
    return only(job)


def name(submission: Submission) -> str:
    return f"{submission.job_id}/{submission.number}"


def its_video(submission: Submission, sora: ScriptedClient) -> Video:
    return sora.add(CreateRequest(**submission.request))


def said_by_the_operator(job: Job) -> list[str]:
    return [
        f"{event.subject} {event.to_state}"
        for event in job.events.all()
        if event.detail.get("by") == "operator"
    ]


def refused(said: str, command: str, *arguments: str, **options: Any) -> None:
    """The command fails with one line, and no row has changed."""
    before = list(Submission.objects.order_by("pk").values()), JobEvent.objects.count()
    with pytest.raises(CommandError, match=said) as raised:
        call_command(command, *arguments, **options)
    assert "\n" not in str(raised.value)
    assert before == (list(Submission.objects.order_by("pk").values()), JobEvent.objects.count())


def test_an_unknown_submission_is_given_the_video_that_it_became(
    job: Job, unknown: Submission, sora: ScriptedClient, capsys: Out
) -> None:
    video = its_video(unknown, sora)
    call_command("adopt", name(unknown), video.id)
    job.refresh_from_db()
    assert (job.status, only(job).state, only(job).upstream_id) == ("processing", "rendering", video.id)
    assert said_by_the_operator(job) == ["submission rendering", "job processing"]
    assert capsys.readouterr().out == f"{name(unknown)} rendering as {video.id}; its job is processing.\n"
    assert Provider.objects.get().proves_absence


def test_adopting_the_same_twice_changes_nothing(
    unknown: Submission, upstream: Upstream, sora: ScriptedClient, capsys: Out
) -> None:
    video = its_video(unknown, sora)
    call_command("adopt", name(unknown), video.id)
    events = JobEvent.objects.count()
    call_command("adopt", name(unknown), video.id)
    assert capsys.readouterr().out.endswith(f"has {video.id} already; nothing changed.\n")
    assert JobEvent.objects.count() == events
    assert sora.retrieves == 1, "what is known already needs no asking"
    assert not decisions.adopt(unknown, video.id), "nor does one who comes at the same time"
    assert JobEvent.objects.count() == events


def test_a_submission_with_an_id_gets_no_other(unknown: Submission, sora: ScriptedClient) -> None:
    call_command("adopt", name(unknown), its_video(unknown, sora).id)
    refused("cannot have another", "adopt", name(unknown), its_video(unknown, sora).id, force=True)


def test_an_id_of_another_submission_is_refused(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    first = make_job("the same")
    submit_next(upstream)
    second = make_job("the same")
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    owned = str(only(first).upstream_id)
    refused(f"belongs to {first.pk}/1", "adopt", name(only(second)), owned, force=True)


def test_an_id_that_the_upstream_does_not_know_is_refused(unknown: Submission) -> None:
    refused("knows no video video_x", "adopt", name(unknown), "video_x", force=True)


@pytest.mark.parametrize("given", ["", "../models", "a b", "x" * 2001])
def test_what_cannot_be_an_id_is_refused_without_asking(
    unknown: Submission, sora: ScriptedClient, given: str
) -> None:
    refused("cannot be an upstream's id", "adopt", name(unknown), given)
    assert sora.retrieves == 0


def test_an_upstream_that_does_not_answer_is_said(unknown: Submission, sora: ScriptedClient) -> None:
    sora.retrieve_error = errors.Unavailable("502")
    refused("could not be asked, try again: 502", "adopt", name(unknown), "video_x")


def test_an_upstream_that_answers_with_another_id_is_refused(
    unknown: Submission, sora: ScriptedClient
) -> None:
    sora.videos["alias"] = its_video(unknown, sora)
    refused("although alias was asked for", "adopt", name(unknown), "alias", force=True)


def test_a_video_of_other_fields_is_adopted_only_by_force_and_ends_the_trust_in_the_list(
    job: Job, unknown: Submission, sora: ScriptedClient
) -> None:
    other = sora.add(CreateRequest("rewritten by the upstream", "sora-2", "4", "1280x720"))
    refused("not what .* asked for.*--force", "adopt", name(unknown), other.id)
    call_command("adopt", name(unknown), other.id, force=True)
    assert (only(job).state, only(job).upstream_id) == ("rendering", other.id)
    assert not Provider.objects.get().proves_absence


def test_a_video_from_another_time_is_adopted_only_by_force(
    job: Job, unknown: Submission, sora: ScriptedClient
) -> None:
    other = sora.add(CreateRequest(**job.fitted), created_at=datetime.now(UTC) - timedelta(hours=1))
    refused("outside the attempt.*--force", "adopt", name(unknown), other.id)
    call_command("adopt", name(unknown), other.id, force=True)
    assert only(job).upstream_id == other.id


def test_a_video_that_was_made_after_the_lease_is_adopted(
    job: Job, unknown: Submission, sora: ScriptedClient
) -> None:
    late = sora.add(CreateRequest(**job.fitted), created_at=datetime.now(UTC) + timedelta(hours=1))
    call_command("adopt", name(unknown), late.id)
    assert only(job).upstream_id == late.id


def test_a_video_that_a_later_attempt_alike_may_have_made_is_adopted_only_by_force(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    call_command("declare_absent", name(unknown))
    between = sora.add(CreateRequest(**job.fitted), created_at=datetime.now(UTC) + timedelta(hours=1))
    with shifted(timedelta(hours=2)):
        sora.before = raising(errors.OutcomeUnknown("timeout"))
        assert submit_next(upstream)
    its = sora.add(CreateRequest(**job.fitted), created_at=datetime.now(UTC) + timedelta(hours=2))
    refused("outside the attempt.*--force", "adopt", name(unknown), its.id)
    call_command("adopt", name(unknown), between.id)
    assert job.submissions.get(number=1).upstream_id == between.id


def test_a_submission_to_another_upstream_is_refused(unknown: Submission) -> None:
    Provider.objects.update(name="another")
    refused("sent to another, which is not configured", "adopt", name(unknown), "video_x")


@pytest.mark.parametrize("given", ["", "1", "not-a-job/1", "{job}", "{job}/x", "{job}/"])
@pytest.mark.parametrize("command", ["adopt", "declare_absent", "declare_lost"])
def test_what_names_no_submission_is_refused(unknown: Submission, command: str, given: str) -> None:
    given = given.format(job=unknown.job_id)
    refused("not of the form <job id>/<number>", command, given, *(["video_x"] if command == "adopt" else []))


def test_a_submission_that_is_not_there_is_refused(unknown: Submission) -> None:
    refused("There is no submission", "declare_absent", f"{unknown.job_id}/7")


def test_what_is_still_being_sent_gets_no_id_and_is_not_declared_absent(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sending = claim_next(upstream)
    assert sending is not None
    refused("only what is unknown, absent or given up", "adopt", name(sending), its_video(sending, sora).id)
    refused("only what is unknown can be declared absent", "declare_absent", name(sending))
    refused("only what is unknown can be declared lost", "declare_lost", name(sending))


def test_what_was_proven_absent_can_be_adopted_after_all(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    assert through_the_window(job, upstream).state == "absent"
    video = its_video(unknown, sora)
    call_command("adopt", name(unknown), video.id)
    job.refresh_from_db()
    assert (job.status, only(job).state, only(job).cost_state) == ("processing", "rendering", "reserved")


def test_what_was_proven_absent_and_sent_again_is_settled_when_it_is_adopted(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient, capsys: Out
) -> None:
    call_command("declare_absent", name(unknown))
    assert submit_next(upstream)
    call_command("adopt", name(unknown), its_video(unknown, sora).id)
    unknown.refresh_from_db()
    assert (unknown.state, unknown.cost_state) == ("given_up", "settled")
    assert "counts as paid" in capsys.readouterr().out


def test_what_was_given_up_without_an_id_gets_one_and_is_stored_when_it_is_finished(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.list_error = errors.Unavailable("502")
    for minutes in range(0, 70, 10):
        search_at(job, upstream, settings.JOB_GIVE_UP_AFTER + 60 * minutes)
    search_at(job, upstream, settings.JOB_GIVE_UP_AFTER + 3700)
    assert only(job).state == "given_up"
    video = its_video(unknown, sora)
    with shifted(timedelta(seconds=settings.JOB_GIVE_UP_AFTER + 3701)):
        call_command("adopt", name(unknown), video.id)
        assert (only(job).state, only(job).upstream_id) == ("given_up", video.id)
        assert said_by_the_operator(job) == ["submission given_up"]
        sora.complete(video.id)
        attend_to(only(job), upstream)
        attend_to(only(job), upstream)
    job.refresh_from_db()
    assert (job.status, only(job).state) == ("completed", "stored")


def test_the_adopted_video_of_a_cancelled_job_does_not_revive_it(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    cancel(job)
    call_command("adopt", name(unknown), its_video(unknown, sora).id)
    job.refresh_from_db()
    assert (job.status, only(job).state) == ("cancelled", "rendering")


def test_what_is_declared_absent_costs_nothing_and_is_sent_again_at_once(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient, capsys: Out
) -> None:
    Job.objects.update(due_at=database_now() + timedelta(hours=1))
    call_command("declare_absent", name(unknown))
    assert (only(job).state, only(job).cost_state) == ("absent", "returned")
    assert said_by_the_operator(job) == ["submission absent"]
    assert "paid twice" in capsys.readouterr().out
    assert submit_next(upstream)
    job.refresh_from_db()
    assert (job.status, len(sora.creates)) == ("processing", 1)
    refused("only what is unknown can be declared absent", "declare_absent", name(unknown))


def test_a_cancelled_jobs_submission_that_is_declared_absent_is_not_sent_again(
    job: Job, unknown: Submission, upstream: Upstream, capsys: Out
) -> None:
    cancel(job)
    call_command("declare_absent", name(unknown))
    assert "its job is cancelled.\n" in capsys.readouterr().out
    assert not submit_next(upstream)


def test_what_is_absent_or_has_an_id_is_not_declared_lost(
    job: Job, unknown: Submission, upstream: Upstream
) -> None:
    call_command("declare_absent", name(unknown))
    refused("only what is unknown can be declared lost", "declare_lost", name(unknown))
    assert submit_next(upstream)
    refused("only what is unknown can be declared lost", "declare_lost", f"{job.pk}/2")


def test_what_is_declared_lost_counts_as_paid_and_a_retry_is_sent_again(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient, capsys: Out
) -> None:
    call_command("declare_lost", name(unknown))
    job.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "upstream_lost")
    assert (only(job).state, only(job).cost_state) == ("given_up", "settled")
    assert said_by_the_operator(job) == ["submission given_up"]
    assert "counts as paid; its job is failed.\n" in capsys.readouterr().out
    assert not submit_next(upstream)
    refused("only what is unknown can be declared lost", "declare_lost", name(unknown))
    retry(job)
    assert submit_next(upstream)
    assert job.submissions.get(number=2).state == "rendering"


def test_what_was_declared_lost_is_gone_on_with_if_it_appears(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    call_command("declare_lost", name(unknown))
    video = its_video(unknown, sora)
    call_command("adopt", name(unknown), video.id)
    job.refresh_from_db()
    retry(job)
    assert (job.submissions.get().state, job.submissions.get().upstream_id) == ("rendering", video.id)
    assert not submit_next(upstream)


def test_a_cancelled_job_stays_so_if_its_create_is_declared_lost(
    job: Job, unknown: Submission, upstream: Upstream
) -> None:
    cancel(job)
    call_command("declare_lost", name(unknown))
    job.refresh_from_db()
    assert (job.status, only(job).cost_state) == ("cancelled", "settled")


def test_a_late_answer_for_what_an_operator_declared_absent_is_taken_while_the_job_waits(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    call_command("declare_absent", name(unknown))
    with locked(unknown) as (locked_job, submission):
        assert accept(locked_job, submission, its_video(unknown, sora), upstream, how="answered")
    job.refresh_from_db()
    assert (job.status, only(job).state) == ("processing", "rendering")
    assert not submit_next(upstream)


def test_a_late_answer_for_what_an_operator_declared_absent_is_settled_when_it_was_sent_again(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    call_command("declare_absent", name(unknown))
    assert submit_next(upstream)
    late = its_video(unknown, sora)
    with locked(unknown) as (locked_job, submission):
        accept(locked_job, submission, late, upstream, how="answered")
    unknown.refresh_from_db()
    assert (unknown.state, unknown.cost_state, unknown.upstream_id) == ("given_up", "settled", late.id)
    assert job.submissions.get(number=2).state == "rendering"


def test_a_retry_after_a_declared_absence_is_sent_once(
    job: Job, unknown: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    cancel(job)
    call_command("declare_absent", name(unknown))
    retry(job)
    assert submit_next(upstream)
    assert not submit_next(upstream)
    assert len(sora.creates) == 1


def test_a_provider_is_resumed_and_says_what_blocked_it(
    job: Job, upstream: Upstream, settings: Settings, capsys: Out
) -> None:
    settings.SORA_BREAKER_FAILURES = 5
    upstream.provider()
    now = database_now()
    Provider.objects.update(
        paused_at=now,
        pause_reason="401",
        probe_due_at=now,
        sending_backoff_until=now + timedelta(hours=1),
        sending_backoff_reason="busy",
        failures=7,
        proves_absence=False,
    )
    assert not submit_next(upstream)
    call_command("resume_provider")
    out = capsys.readouterr().out
    assert all(
        f"scripted: ended: {what}" in out
        for what in ("paused since", "backing off until", "one create at a time")
    )
    assert "not trusted" not in out
    provider = Provider.objects.get()
    assert (provider.failures, provider.probe_due_at, provider.proves_absence) == (0, None, False)
    assert submit_next(upstream)
    call_command("resume_provider", "scripted")
    assert capsys.readouterr().out == "scripted: nothing blocked it.\n"


def test_the_trust_in_a_list_is_restored_only_when_asked_for(
    job: Job, unknown: Submission, upstream: Upstream, capsys: Out
) -> None:
    Provider.objects.update(proves_absence=False)
    assert through_the_window(job, upstream).state == "unknown"
    call_command("resume_provider", trust_list=True)
    assert "ended: its list is not trusted" in capsys.readouterr().out
    assert search_at(job, upstream, 700).state == "absent"


def test_a_provider_that_is_not_there_is_refused(upstream: Upstream) -> None:
    refused("there are: none yet", "resume_provider")
    upstream.provider()
    refused("no provider 'nobody'; there are: scripted", "resume_provider", "nobody")


def test_what_waits_for_a_person_is_listed_with_what_it_may_have_become(
    job: Job,
    unknown: Submission,
    make_job: Callable[..., Job],
    upstream: Upstream,
    sora: ScriptedClient,
    capsys: Out,
) -> None:
    owned = make_job()
    submit_next(upstream)
    other = sora.add(CreateRequest("rewritten", "sora-2", "4", "1280x720"))
    early = sora.add(CreateRequest(**job.fitted), created_at=datetime.now(UTC) - timedelta(hours=1))
    call_command("undecided")
    assert capsys.readouterr().out == "Nothing waits for a person.\n", "its window is still open"
    assert through_the_window(job, upstream).state == "unknown"
    Provider.objects.update(proves_absence=False)
    with shifted(timedelta(hours=3)):
        call_command("undecided")
    head, row, candidate, reason, provider = capsys.readouterr().out.splitlines()
    assert reason == "  this upstream's list proves no absence"
    assert head.split() == ["SUBMISSION", "AGE", "KEY", "PRICE", "PROMPT"]
    assert row.split()[:4] == [name(unknown), "3.0", "h", unknown.match_key[:8]]
    assert row.endswith(f"{unknown.price:.4f} USD {job.prompt}")
    assert f"nobody owns {other.id} (" in candidate
    assert candidate.endswith("other fields)")
    assert early.id not in candidate
    assert str(only(owned).upstream_id) not in candidate
    assert provider == "scripted: its list is not trusted to prove absence"


@pytest.mark.parametrize("why", ["unreadable", "too long", "away"])
def test_a_list_that_was_not_read_back_to_it_is_said(
    job: Job, unknown: Submission, sora: ScriptedClient, settings: Settings, capsys: Out, why: str
) -> None:
    if why == "unreadable":
        sora.unreadable = 1
    elif why == "away":
        sora.list_error = errors.Unavailable("502")
    else:
        settings.AUDIT_PAGES = 1
        for _ in range(150):
            sora.add(
                CreateRequest("x", "sora-2", "4", "1280x720"),
                created_at=datetime.now(UTC) + timedelta(hours=1),
            )
    with shifted(timedelta(hours=3)):
        call_command("undecided")
    assert capsys.readouterr().out.splitlines()[-1] == "  the list could not be read back to it"


def test_without_a_list_all_that_is_unknown_waits_for_a_person(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    listless = scripted(replace(OPENAI, lists=False))
    configure(monkeypatch, listless)
    client: Any = listless.client
    client.before = raising(errors.OutcomeUnknown("timeout"))
    job = make_job()
    submit_next(listless)
    assert search_at(job, listless, 3).due_at is None
    call_command("undecided")
    assert name(only(job)) in capsys.readouterr().out
    assert client.lists == 0


@pytest.mark.parametrize("decided", ["adopted", "declared absent"])
def test_what_was_decided_waits_for_nobody_any_more(
    unknown: Submission, sora: ScriptedClient, capsys: Out, decided: str
) -> None:
    if decided == "adopted":
        call_command("adopt", name(unknown), its_video(unknown, sora).id)
    else:
        call_command("declare_absent", name(unknown))
    capsys.readouterr()
    with shifted(timedelta(hours=3)):
        call_command("undecided")
    assert capsys.readouterr().out == "Nothing waits for a person.\n"


def test_what_was_sent_to_another_upstream_is_listed_without_videos_of_this_one(
    unknown: Submission, sora: ScriptedClient, capsys: Out
) -> None:
    video = its_video(unknown, sora)
    Provider.objects.update(name="another")
    with shifted(timedelta(hours=3)):
        call_command("undecided")
    out = capsys.readouterr().out
    assert name(unknown) in out
    assert video.id not in out
    assert out.endswith("  the list could not be read back to it\n")
    assert sora.lists == 0


def meeting(change: Callable[[], Any], call: Callable[[], Any]) -> Any:
    """What the call returns or raises where it waits for another connection's change to be committed."""
    changed, go_on = threading.Event(), threading.Event()

    def commit_late() -> None:
        with transaction.atomic():
            change()
            changed.set()
            assert go_on.wait(TIMEOUT)
        connection.close()

    def then_close() -> Any:
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(commit_late)
        assert changed.wait(TIMEOUT)
        called = pool.submit(then_close)
        while not (called.done() or waits_for_a_lock()):
            pass
        go_on.set()
        other.result(TIMEOUT)
        return called.result(TIMEOUT)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_an_id_that_another_submission_gets_in_the_same_moment_is_refused(
    make_job: Callable[..., Job], unknown: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    video = its_video(unknown, sora)
    make_job()
    other = claim_next(upstream)
    assert other is not None
    with pytest.raises(decisions.Refused, match="to another submission in this moment"):
        meeting(
            lambda: Submission.objects.filter(pk=other.pk).update(upstream_id=video.id),
            lambda: decisions.adopt(unknown, video.id),
        )
    unknown.refresh_from_db()
    assert (unknown.state, unknown.upstream_id) == ("unknown", None)
    assert said_by_the_operator(unknown.job) == []


def test_an_id_that_another_gets_after_the_check_is_refused_as_well(
    make_job: Callable[..., Job],
    unknown: Submission,
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    video = its_video(unknown, sora)
    make_job()
    other = claim_next(upstream)
    assert other is not None
    check = decisions._check_adoptable

    def then_another_gets_it(*args: Any, **kwargs: Any) -> None:
        check(*args, **kwargs)
        Submission.objects.filter(pk=other.pk).update(upstream_id=video.id)

    monkeypatch.setattr(decisions, "_check_adoptable", then_another_gets_it)
    with pytest.raises(decisions.Refused, match="to another submission in this moment"):
        decisions.adopt(unknown, video.id)
    assert said_by_the_operator(unknown.job) == []


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_what_blocks_a_provider_since_this_moment_is_ended_and_said(upstream: Upstream) -> None:
    pk = upstream.provider().pk
    ended = meeting(
        lambda: Provider.objects.filter(pk=pk).update(paused_at=database_now(), pause_reason="401"),
        lambda: providers.resume(upstream.name),
    )
    assert [each.partition(" since ")[0] for each in ended] == ["paused"]
    assert Provider.objects.get().paused_at is None


def test_an_operator_and_a_search_that_find_the_same_agree(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.after = dropped
    submit_next(upstream)
    (video_id,) = sora.videos
    assert search_at(job, upstream, 2.5).upstream_id == video_id
    assert not decisions.adopt(only(job), video_id)
