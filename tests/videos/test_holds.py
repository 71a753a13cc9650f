"""What nobody answers for is held; an operator stops a key or an account with all its jobs."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey, User
from tests.configured import configure
from tests.videos.positions import queue_positions
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import claim_next, send, submit_next
from tests.videos.test_submit import raising
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.offer.fitting import VideoRequest
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.create import create
from videos.lifecycle.retry import retry
from videos.models import Group, Job
from videos.queue.claims import selection
from videos.reconciliation.decisions import declare_absent

pytestmark = pytest.mark.django_db

Ask = Callable[..., Job]


@pytest.fixture(autouse=True)
def _commands_use_the_scripted_upstream(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, upstream)


@pytest.fixture
def upstream(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    wide = replace(upstream, concurrency=100)
    configure(monkeypatch, wide)
    return wide


@pytest.fixture
def key(owner: User) -> ApiKey:
    return ApiKey.issue(owner, "leaked")[0]


@pytest.fixture
def ask(owner: User, upstream: Upstream) -> Ask:
    made = 0

    def ask(key: ApiKey | None = None, by: User = owner, group: Group | None = None) -> Job:
        nonlocal made
        made += 1
        job = create(VideoRequest(prompt=f"boat {made}"), owner=by, api_key=key)
        Job.objects.filter(pk=job.pk).update(group=group)
        job.refresh_from_db()
        return job

    return ask


def status(job: Job) -> str:
    return Job.objects.get(pk=job.pk).status


def send_all(upstream: Upstream) -> None:
    """As many as may be sent now."""
    for _ in range(100):
        if not submit_next(upstream):
            return
    pytest.fail("the same is claimed again and again")


def test_jobs_of_a_deactivated_account_are_held_until_it_is_active_again(
    ask: Ask, owner: User, upstream: Upstream
) -> None:
    eve = User.objects.create_user("eve")
    group = Group.objects.create(owner=eve, limit=3)
    held, grouped, others = ask(by=eve), ask(by=eve, group=group), ask()
    User.objects.filter(pk=eve.pk).update(is_active=False)
    assert queue_positions([others])[others.pk].position == 1
    send_all(upstream)
    assert [status(job) for job in (held, grouped, others)] == ["pending", "pending", "processing"]
    assert queue_positions([held])[held.pk].position is None
    User.objects.filter(pk=eve.pk).update(is_active=True)
    send_all(upstream)
    assert [status(job) for job in (held, grouped)] == ["processing", "processing"]


def test_jobs_of_a_revoked_key_are_held_and_shown_as_such(
    ask: Ask, key: ApiKey, api: Client, upstream: Upstream
) -> None:
    held, others = ask(key), ask()
    key.revoke()
    for claimed in (False, True):
        if claimed:
            send_all(upstream)
        shown = api.get(f"/api/v1/videos/{held.pk}").json()["data"]
        assert (shown["status"], shown["stage"], shown["queuePosition"]) == ("pending", "held", None)
    assert status(others) == "processing"
    key.release_jobs()
    assert api.get(f"/api/v1/videos/{held.pk}").json()["data"]["stage"] is None
    send_all(upstream)
    assert status(held) == "processing"


def test_a_job_that_another_key_asks_for_again_is_not_held_for_the_one_before(
    ask: Ask, key: ApiKey, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    job = ask(key)
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    send_all(upstream)
    cancel(job)
    key.revoke()
    sora.before = None
    assert retry(job, api_key=ApiKey.issue(owner, "new")[0]).status == "pending"
    declare_absent(job.submissions.get())
    send_all(upstream)
    assert status(job) == "processing"


def test_an_expired_key_holds_nothing(ask: Ask, key: ApiKey, upstream: Upstream) -> None:
    job = ask(key)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
    send_all(upstream)
    assert status(job) == "processing"


@pytest.mark.parametrize("stop", ["key", "account"])
def test_what_is_claimed_when_it_is_stopped_is_not_posted(
    ask: Ask, key: ApiKey, owner: User, upstream: Upstream, sora: ScriptedClient, stop: str
) -> None:
    job = ask(key)
    submission = claim_next(upstream)
    assert submission is not None
    if stop == "key":
        key.revoke()
    else:
        User.objects.filter(pk=owner.pk).update(is_active=False)
    send(submission, upstream)
    send_all(upstream)
    assert sora.creates == []
    assert (status(job), job.submissions.get().state) == ("pending", "unsent")


def test_what_was_sent_goes_on(ask: Ask, key: ApiKey, upstream: Upstream) -> None:
    job = ask(key)
    send_all(upstream)
    key.revoke()
    assert status(job) == "processing"


def test_many_jobs_of_a_revoked_key_are_passed_over_once(
    ask: Ask, key: ApiKey, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videos.queue.holds._TOGETHER", 3)
    leaked = [ask(key) for _ in range(20)]
    eve = User.objects.create_user("eve")
    behind, others = ask(), ask(by=eve)
    key.revoke()
    assert submit_next(upstream)
    assert status(others) == "processing", "another lane is not kept waiting"
    assert Job.objects.filter(held=True).count() == 3 * selection._MAX_HOLDS
    send_all(upstream)
    assert status(behind) == "processing"
    assert {status(job) for job in leaked} == {"pending"}
    last = ask()
    with CaptureQueriesContext(connection) as queries:
        assert submit_next(upstream)
    assert status(last) == "processing"
    assert not [query for query in queries if '"held" = ' in (query["sql"] or "")]


def test_a_retry_with_another_key_answers_for_a_held_job(
    ask: Ask, key: ApiKey, owner: User, upstream: Upstream
) -> None:
    job = ask(key)
    key.revoke()
    send_all(upstream)
    cancel(job)
    retry(job, api_key=ApiKey.issue(owner, "new")[0])
    send_all(upstream)
    assert status(job) == "processing"


def test_a_leaked_key_is_stopped_with_its_jobs_by_one_command(
    ask: Ask, key: ApiKey, owner: User, upstream: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    running, others_running = ask(key), ask()
    send_all(upstream)
    waiting, others = ask(key), ask()
    call_command("keys", "revoke", str(key.pk), "--cancel-jobs")
    assert capsys.readouterr().out.endswith("revoked.\nCancelled: 2 jobs.\n")
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert [status(job) for job in (running, waiting)] == ["cancelled", "cancelled"]
    assert [status(job) for job in (others_running, others)] == ["processing", "pending"]
    assert waiting.events.last().detail == {"by": "operator"}  # type: ignore[union-attr]


def test_the_jobs_of_a_key_that_is_replaced_can_be_kept(
    ask: Ask, key: ApiKey, upstream: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ask(key)
    call_command("keys", "revoke", str(key.pk))
    assert "held" in capsys.readouterr().err
    send_all(upstream)
    assert status(job) == "pending"
    call_command("keys", "revoke", str(key.pk), "--keep-jobs")
    send_all(upstream)
    assert status(job) == "processing"


def test_a_cancel_of_many_says_first_what_it_would_do(
    ask: Ask, owner: User, upstream: Upstream, sora: ScriptedClient,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("videos.lifecycle.cancel_many._TOGETHER", 2)
    eve = User.objects.create_user("eve")
    running = [ask(by=eve) for _ in range(3)]
    send_all(upstream)
    group = Group.objects.create(owner=eve, limit=3)
    waiting = [ask(by=eve), ask(by=eve, group=group), ask(by=eve), ask(by=eve, group=group), ask(by=eve)]
    others = ask()
    call_command("cancel", owner="EVE")
    assert "Would cancel 5 waiting and 3 running jobs" in capsys.readouterr().out
    assert not Job.objects.filter(status="cancelled").exists()
    call_command("cancel", "--owner", "eve", "--apply", "--deactivate")
    assert "Cancelled: 8 jobs." in capsys.readouterr().out
    assert {status(job) for job in running + waiting} == {"cancelled"}
    assert status(others) == "pending"
    assert not User.objects.get(pk=eve.pk).is_active
    call_command("cancel", "--owner", "eve", "--apply")
    assert "Cancelled: 0 jobs." in capsys.readouterr().out


def test_a_render_of_theirs_is_stopped_upstream_if_it_can_be(
    ask: Ask, key: ApiKey, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = replace(upstream, dialect=replace(OPENAI, cancels=True))
    configure(monkeypatch, able)
    job = ask(key)
    send_all(upstream)
    call_command("cancel", key=key.pk, apply=True)
    assert job.submissions.get().attempts == 0
    assert status(job) == "cancelled"


def test_what_is_cancelled_is_chosen_by_all_options_together(
    ask: Ask, key: ApiKey, owner: User, upstream: Upstream
) -> None:
    group = Group.objects.create(owner=owner, limit=3)
    old, of_key, in_group = ask(key, group=group), ask(key), ask(group=group)
    Job.objects.filter(pk=old.pk).update(asked_at="2026-01-01T00:00:00Z")
    both = ask(key, group=group)
    call_command("cancel", key=key.pk, batch=str(group.pk), since="2026-06-01T00:00", apply=True)
    assert [status(job) for job in (old, of_key, in_group, both)] == [*["pending"] * 3, "cancelled"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"apply": True},
        {"owner": "nobody"},
        {"key": 999_999},
        {"batch": "x"},
        {"batch": "01a215b7-b204-77de-ad11-e23fd1fc80d7"},
        {"since": "yesterday"},
        {"since": "2026-01-01", "deactivate": True},
    ],
)
def test_a_cancel_of_nothing_in_particular_is_refused(ask: Ask, options: dict[str, object]) -> None:
    job = ask()
    with pytest.raises(CommandError):
        call_command("cancel", **{"apply": True} | options)
    assert status(job) == "pending"
