"""Several upstreams: which one a job goes to, and that an undecided attempt leads to no other."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings
from rest_framework.exceptions import ValidationError

from accounts.budgets.counting import count_some
from accounts.models import Spending, User
from tests.accounts.test_budgets import limit
from tests.configured import configure
from tests.videos.positions import queue_positions
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import submit_next
from tests.videos.test_submit import raising
from upstreams import registry
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.offer.catalogue import AnyLength, AnySize, Catalogue, Model
from upstreams.offer.request import VideoRequest
from upstreams.registry import Upstream, Upstreams
from videos import tasks
from videos.lifecycle.cancel import cancel
from videos.lifecycle.create import create
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import retry
from videos.models import Exclusion, Job, JobEvent, Submission
from videos.queue.claims.search import Search
from videos.queue.dispatch import all_due_work
from videos.reconciliation.decisions import declare_absent
from videos.reconciliation.restored import books
from videos.reconciliation.restored.books import forget_checks
from videos.routing.refit import exclude

pytestmark = pytest.mark.django_db

HD = ("1280x720", "720x1280")
CHEAP, DEAR = Decimal("0.05"), Decimal("0.10")
Ask = Callable[..., Job]


def offering(price: Decimal, **model: Any) -> Catalogue:
    fields: dict[str, Any] = {"sizes": HD, "seconds": ("4", "8"), "prices": dict.fromkeys(HD, price)} | model
    return Catalogue({"wan": Model(**fields)}, "wan")


def named(
    name: str, price: Decimal = DEAR, *, order: int = 1, concurrency: int = 2, **model: Any
) -> Upstream:
    found = scripted(catalogue=offering(price, **model), concurrency=concurrency)
    return replace(found, name=name, order=order)


@pytest.fixture
def first() -> Upstream:
    return named("first", order=1)


@pytest.fixture
def second() -> Upstream:
    return named("second", order=2)


@pytest.fixture(autouse=True)
def _both(db: None, first: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two upstreams, which this process has compared with its books."""
    configure(monkeypatch, first, second)
    assert books.may_create(first)
    assert books.may_create(second)


@pytest.fixture
def ask(owner: User) -> Ask:
    made = 0

    def ask(**asked: Any) -> Job:
        nonlocal made
        made += 1
        return create(VideoRequest(**{"prompt": f"boat {made}", **asked}), owner=owner, api_key=None)

    return ask


def sent_to(upstream: Upstream) -> list[str]:
    client: Any = upstream.client
    return sorted(request.prompt for request in client.creates)


def client_of(upstream: Upstream) -> ScriptedClient:
    client: Any = upstream.client
    return client  # type: ignore[no-any-return]


def attempts(job: Job) -> list[tuple[str, str]]:
    return list(job.submissions.order_by("number").values_list("provider__name", "state"))


def test_the_preferred_one_is_filled_first(ask: Ask, first: Upstream, second: Upstream) -> None:
    for _ in range(5):
        ask()
    tasks.submit()
    assert sent_to(first) == ["boat 1", "boat 2"]
    assert sent_to(second) == ["boat 3", "boat 4"]


def test_no_worker_for_another_one_takes_what_the_preferred_one_can_take(
    ask: Ask, first: Upstream, second: Upstream
) -> None:
    ask()
    assert not submit_next(second)
    assert submit_next(first)


def test_a_dispatch_has_few_messages_however_much_is_due(
    ask: Ask, first: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (replace(each, concurrency=20) for each in (first, second))
    configure(monkeypatch, first, second)
    for _ in range(30):
        ask()
    tasks.submit()
    Submission.objects.update(state="unknown", upstream_id=None, due_at=database_now())
    given = [work for work in all_due_work() if work.task == "attend"]
    assert sorted(work.provider for work in given) == ["first"] * 4 + ["second"] * 4


BLOCKS: dict[str, dict[str, Any]] = {
    "stopped": {"stopped_at": True},
    "paused": {"paused_at": True},
    "not the one that we know": {"unrecognized_at": True},
    "asked to wait": {"sending_backoff_until": timedelta(seconds=30)},
}


@pytest.mark.parametrize("block", BLOCKS)
def test_while_the_preferred_one_takes_nothing_the_next_one_does(
    ask: Ask, first: Upstream, second: Upstream, block: str
) -> None:
    first.provider()
    now = database_now()
    fields = {name: now if at is True else now + at for name, at in BLOCKS[block].items()}
    Provider.objects.filter(name="first").update(**fields)
    job = ask()
    tasks.submit()
    assert (sent_to(first), sent_to(second)) == ([], ["boat 1"])
    assert attempts(job) == [("second", "rendering")]
    Provider.objects.filter(name="first").update(**dict.fromkeys(fields))
    ask()
    tasks.submit()
    assert sent_to(first) == ["boat 2"]


def test_of_the_same_order_the_cheapest_is_taken(
    ask: Ask, first: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap = replace(second, order=1, catalogue=offering(CHEAP))
    configure(monkeypatch, first, cheap)
    job = ask()
    tasks.submit()
    assert (sent_to(first), sent_to(cheap)) == ([], ["boat 1"])
    assert job.estimated_cost == Decimal("0.20")


@pytest.mark.parametrize(
    "error",
    [
        errors.NotSent("refused"),
        errors.Busy("429", retry_after=60),
        errors.Misconfigured("402", status=402),
        errors.Misconfigured("403", status=403),
    ],
)
def test_what_was_provably_not_accepted_goes_elsewhere_at_once(
    ask: Ask, first: Upstream, second: Upstream, error: errors.SoraError
) -> None:
    job = ask()
    client_of(first).before = raising(error)
    tasks.submit()
    assert attempts(job) == [("first", "unsent"), ("second", "rendering")]


def test_an_unknown_outcome_leads_nowhere_else(ask: Ask, first: Upstream, second: Upstream) -> None:
    job = ask()
    client_of(first).before = raising(errors.OutcomeUnknown("timeout"))
    for seconds in range(0, 60, 5):
        with shifted(timedelta(seconds=seconds)):
            tasks.submit()
    assert attempts(job) == [("first", "unknown")]
    assert sent_to(second) == []


def test_once_it_is_absent_another_one_may_take_it(ask: Ask, first: Upstream, second: Upstream) -> None:
    job = ask()
    client_of(first).before = raising(errors.OutcomeUnknown("timeout"))
    tasks.submit()
    Provider.objects.filter(name="first").update(stopped_at=database_now())
    declare_absent(job.submissions.get())
    tasks.submit()
    assert attempts(job) == [("first", "absent"), ("second", "rendering")]


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFound("no such model", status=404),
        errors.Rejected("no such model", status=503, code="model_not_found"),
        errors.Rejected("not implemented", status=501),
        errors.Rejected("unknown", status=400, param="model"),
    ],
)
def test_a_refusal_that_is_about_the_upstream_leads_elsewhere(
    ask: Ask, first: Upstream, second: Upstream, error: errors.SoraError
) -> None:
    job = ask()
    client_of(first).before = raising(error)
    tasks.submit()
    assert attempts(job) == [("first", "unsent"), ("second", "rendering")]
    assert Exclusion.objects.get().until is None


def test_what_all_refuse_fails_and_may_be_retried_with_all(
    ask: Ask, owner: User, first: Upstream, second: Upstream
) -> None:
    job = ask()
    for upstream in (first, second):
        client_of(upstream).before = raising(errors.NotFound("no such model", status=404))
    tasks.submit()
    job.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "SORA_SUBMISSION_FAILED")
    assert attempts(job) == [("first", "unsent"), ("second", "rejected")]
    while count_some():
        pass
    assert not Spending.objects.exclude(reserved=0, settled=0).exists()
    client_of(first).before = None
    retry(job)
    tasks.submit()
    assert attempts(job)[-1] == ("first", "rendering")


def test_what_no_other_one_may_take_fails_at_once(
    ask: Ask, owner: User, first: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap = replace(first, catalogue=offering(CHEAP))
    configure(monkeypatch, cheap, second)
    job = ask()
    client_of(cheap).before = raising(errors.NotFound("no such model", status=404))
    tasks.submit()
    assert attempts(job) == [("first", "rejected")]
    assert Job.objects.get().status == "failed", "the other one costs more than what was reserved"


def test_a_refusal_of_what_is_asked_is_shopped_around_nowhere(
    ask: Ask, first: Upstream, second: Upstream
) -> None:
    job = ask()
    client_of(first).before = raising(
        errors.Rejected("Your request was blocked.", status=400, code="moderation")
    )
    tasks.submit()
    assert attempts(job) == [("first", "rejected")]
    assert Job.objects.get().status == "failed"


def test_a_job_is_fitted_to_the_one_that_changes_least(
    ask: Ask, first: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = named("full hd", order=2, sizes=(*HD, "1920x1080"))
    configure(monkeypatch, first, full)
    job = ask(resolution="1080p")
    assert (job.upstream, job.fitted["size"], job.adjustments) == ("full hd", "1920x1080", [])
    tasks.submit()
    assert sent_to(full) == ["boat 1"]


def test_one_that_is_only_busy_makes_nobody_accept_less(
    ask: Ask, first: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = named("full hd", order=2, concurrency=1, sizes=(*HD, "1920x1080"))
    configure(monkeypatch, first, full)
    jobs = [ask(resolution="1080p") for _ in range(2)]
    tasks.submit()
    assert (sent_to(full), sent_to(first)) == (["boat 1"], [])
    sweep_all(full)
    with shifted(timedelta(seconds=31)):
        tasks.submit()
    assert attempts(jobs[1]) == [("full hd", "rendering")]


def sweep_all(upstream: Upstream) -> None:
    for video_id in list(client_of(upstream).videos):
        client_of(upstream).fail(video_id)
    sweep(upstream)


def test_one_that_is_down_has_its_jobs_fitted_anew_and_says_so(
    ask: Ask, first: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = named("full hd", order=2, sizes=(*HD, "1920x1080"))
    configure(monkeypatch, first, full)
    job = ask(resolution="1080p", priority="urgent")
    full.provider()
    Provider.objects.filter(name="full hd").update(paused_at=database_now())
    tasks.submit()
    job.refresh_from_db()
    assert attempts(job) == [("first", "rendering")]
    assert [(each["field"], each["used"]) for each in job.adjustments] == [
        ("priority", "normal"),
        ("resolution", "720p"),
    ]
    moved = JobEvent.objects.get(job=job, from_state="pending", to_state="pending")
    assert moved.detail == {"from": "full hd", "to": "first"}


def test_what_is_asked_strictly_is_never_changed(
    ask: Ask, first: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = named("full hd", order=2, sizes=(*HD, "1920x1080"))
    configure(monkeypatch, first, full)
    job = ask(resolution="1080p", strict=True)
    full.provider()
    Provider.objects.filter(name="full hd").update(paused_at=database_now())
    tasks.submit()
    assert (attempts(job), sent_to(first)) == ([], [])
    Provider.objects.filter(name="full hd").update(paused_at=None)
    tasks.submit()
    assert attempts(job) == [("full hd", "rendering")]


def test_strictly_what_nobody_renders_is_refused(ask: Ask) -> None:
    with pytest.raises(ValidationError):
        ask(resolution="4k", strict=True)


def test_never_more_than_was_reserved_is_spent(
    ask: Ask, owner: User, first: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap = replace(first, catalogue=offering(CHEAP))
    configure(monkeypatch, cheap, second)
    limit(owner, "0.20")
    job = ask()
    cheap.provider()
    Provider.objects.filter(name="first").update(paused_at=database_now())
    tasks.submit()
    assert (attempts(job), sent_to(second)) == ([], [])
    while count_some():
        pass
    assert Spending.objects.filter(reserved=2_000).exists()


def test_what_costs_less_elsewhere_is_settled_at_less(
    ask: Ask, owner: User, first: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap = replace(second, catalogue=offering(CHEAP))
    configure(monkeypatch, first, cheap)
    limit(owner, "0.40")
    job = ask()
    first.provider()
    Provider.objects.filter(name="first").update(paused_at=database_now())
    tasks.submit()
    submission = job.submissions.get()
    assert (submission.provider.name, submission.price) == ("second", Decimal("0.20"))
    client_of(cheap).complete(str(submission.upstream_id))
    sweep(cheap)
    while count_some():
        pass
    assert set(Spending.objects.values_list("reserved", "settled")) == {(0, 2_000)}


def test_each_is_sent_its_own_name_of_the_model(
    ask: Ask, first: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = named("second", order=2, sends="alibaba/wan-2.2")
    configure(monkeypatch, first, renamed)
    first.provider()
    Provider.objects.filter(name="first").update(paused_at=database_now())
    job = ask()
    tasks.submit()
    assert [request.model for request in client_of(renamed).creates] == ["alibaba/wan-2.2"]
    job.refresh_from_db()
    assert (job.model, job.fitted["model"]) == ("wan", "alibaba/wan-2.2")
    assert job.match_key == OPENAI.match_key(client_of(renamed).creates[0])


def test_an_owners_limit_is_for_all_upstreams_together(
    ask: Ask, first: Upstream, second: Upstream, settings: Settings
) -> None:
    settings.MAX_IN_FLIGHT_JOBS = 3
    for _ in range(4):
        ask()
    tasks.submit()
    assert (len(sent_to(first)), len(sent_to(second))) == (2, 1)


def test_each_has_its_own_work(ask: Ask, first: Upstream, second: Upstream) -> None:
    for _ in range(4):
        ask()
    tasks.submit()
    due = {(work.task, work.provider) for work in all_due_work()}
    assert not due & {("submit", "first"), ("submit", "second")}, "both are full"
    with shifted(timedelta(minutes=1)):
        due = {(work.task, work.provider) for work in all_due_work()}
    assert {("sweep", "first"), ("sweep", "second")} <= due


def test_a_render_is_stopped_where_its_upstream_can_stop_it(
    ask: Ask, first: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = replace(second, dialect=replace(OPENAI, cancels=True))
    configure(monkeypatch, first, able)
    jobs = [ask() for _ in range(3)]
    tasks.submit()
    assert "cannot stop" in cancel(jobs[0]).message
    assert "being stopped" in cancel(jobs[2]).message


def test_a_job_says_why_it_waits_only_if_all_block_it(ask: Ask, first: Upstream, second: Upstream) -> None:
    job = ask()
    for upstream in (first, second):
        upstream.provider()
    now = database_now()
    Provider.objects.filter(name="first").update(paused_at=now, pause_reason="402")

    def why() -> str:
        waiting = queue_positions([job])[job.pk].waiting
        assert waiting is not None
        return str(waiting.reason)

    assert why() == "queue"
    Provider.objects.filter(name="second").update(stopped_at=now)
    assert why() == "upstream_paused"


def test_a_model_that_nobody_has_any_more_waits_and_says_so(
    ask: Ask, first: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ask()
    other = replace(named("third"), catalogue=Catalogue({"veo": Model(AnySize(), AnyLength())}, "veo"))
    configure(monkeypatch, other)
    tasks.submit()
    assert attempts(job) == []
    waiting = queue_positions([job])[job.pk].waiting
    assert waiting is not None
    assert waiting.reason == "no_upstream"
    assert client_of(other).creates == [], "no model is replaced by another"


def test_a_switch_of_the_only_upstream_takes_the_waiting_jobs_along(
    ask: Ask, first: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [ask() for _ in range(4)]
    configure(monkeypatch, replace(first, concurrency=1))
    tasks.submit()
    sizes = dict.fromkeys(("1920x1080",), CHEAP)
    present = named("present", sizes=("1920x1080",), prices=sizes, concurrency=9)
    configure(monkeypatch, present)
    tasks.submit()
    assert sent_to(present) == ["boat 2", "boat 3", "boat 4"]
    assert [attempts(job)[0][0] for job in jobs] == ["first", "present", "present", "present"]


def test_models_are_listed_with_all_their_upstreams(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, named("first"), named("second", CHEAP, order=2))
    (wan,) = api.get("/api/v1/models").json()["data"]["models"]
    assert (wan["id"], wan["default"]) == ("wan", True)
    assert [(offer["upstream"], offer["pricePerSecond"]["1280x720"]) for offer in wan["offers"]] == [
        ("first", "0.10"),
        ("second", "0.05"),
    ]


def test_an_unknown_model_is_refused_with_all_that_there_are(
    first: Upstream, second: Upstream, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(second, catalogue=Catalogue({"veo": Model(AnySize(), AnyLength())}, "veo"))
    configure(monkeypatch, first, other)
    with pytest.raises(ValidationError, match=r"allowed: wan, veo"):
        ask(model="sora-2")
    assert ask(model="veo").upstream == "second"
    assert isinstance(registry.configured(), Upstreams)


def restored(job: Job) -> None:
    """The job as a backup has it that was taken before it was sent; every process starts anew."""
    job.submissions.all().delete()
    JobEvent.objects.filter(job=job).exclude(number=1).delete()
    Job.objects.filter(pk=job.pk).update(status="pending", started_at=None, reservation=job.reservation)
    Job.objects.filter(pk=job.pk).update(upstream=job.upstream, fitted=job.fitted, match_key=job.match_key)
    forget_checks()


@pytest.fixture
def other_names(first: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """A second upstream that calls the model otherwise, so that what it shows has another match key."""
    renamed = named("second", order=2, sends="alibaba/wan-2.2")
    configure(monkeypatch, first, renamed)
    return renamed


def test_a_job_of_a_restored_backup_is_not_sent_where_another_upstream_has_rendered_it(
    ask: Ask, first: Upstream, other_names: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    second = other_names
    forget_checks()
    first.provider()
    job = ask()
    Provider.objects.filter(name="first").update(stopped_at=database_now())
    tasks.submit()
    assert len(sent_to(second)) == 1
    restored(job)
    Provider.objects.filter(name="first").update(stopped_at=None)
    for _ in range(3):
        tasks.submit()
    assert (len(sent_to(first)), len(sent_to(second))) == (0, 1)
    assert "newer than our books" in Provider.objects.get(name="second").stop_reason
    newer = ask()
    tasks.submit()
    assert attempts(newer) == [("first", "rendering")], "what was asked for since goes on"
    call_command("recover", "--provider", "second", "--apply")
    tasks.submit()
    assert attempts(job) == [("second", "rendering")]
    job.refresh_from_db()
    assert (job.upstream, job.fitted["model"]) == ("second", "alibaba/wan-2.2")
    assert len(sent_to(second)) == 1


def test_while_an_upstream_cannot_be_compared_its_jobs_of_before_wait(
    ask: Ask, first: Upstream, second: Upstream
) -> None:
    old = ask()
    forget_checks()
    client_of(second).list_error = errors.Unavailable("away")
    tasks.submit()
    assert attempts(old) == []
    new = ask()
    tasks.submit()
    assert (attempts(old), attempts(new)) == ([], [("first", "rendering")])
    client_of(second).list_error = None
    forget_waits()
    tasks.submit()
    assert attempts(old) == [("first", "rendering")]


def forget_waits() -> None:
    Provider.objects.update(sending_backoff_until=None)
    books._checked.not_before.clear()


def test_what_the_choice_of_a_job_raises_is_no_fault_of_the_job_before(
    ask: Ask, first: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ask()
    second = replace(second, concurrency=9)
    whole, calls = Search.locked, itertools.count()

    def locked(search: Search, pks: Iterable[UUID]) -> dict[UUID, Job]:
        if next(calls):
            raise RuntimeError("the choice is broken")
        return whole(search, pks)

    Provider.objects.filter(name="first").update(stopped_at=database_now())
    monkeypatch.setattr(Search, "locked", locked)
    # Once the job is fitted anew, it is chosen again.
    with pytest.raises(RuntimeError):
        submit_next(second)
    job.refresh_from_db()
    assert job.faults == 0


def test_a_job_that_is_sent_nowhere_says_why_and_until_when(
    ask: Ask, first: Upstream, second: Upstream
) -> None:
    job, other = ask(), ask()
    exclude(job, first.provider(), "it refused the model", seconds=60)
    waiting = queue_positions([job])[job.pk].waiting
    assert waiting is not None
    assert waiting.reason == "queue"
    exclude(job, second.provider(), "it costs more", seconds=600)
    found = queue_positions([job, other])
    waiting = found[job.pk].waiting
    assert waiting is not None
    assert (waiting.reason, waiting.detail) == (
        "no_upstream",
        "first: it refused the model; second: it costs more",
    )
    assert waiting.until is not None
    assert 0 < (waiting.until - database_now()).total_seconds() <= 60
    assert found[other.pk].waiting != waiting
    with shifted(timedelta(seconds=61)):
        found = queue_positions([job])
    assert getattr(found[job.pk].waiting, "reason", None) == "queue"
