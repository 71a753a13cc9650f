"""A restored backup: what was paid after it was taken is not paid again."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.models import User
from tests.configured import configure
from tests.references.pictures import flat, plain
from tests.videos.scripted import ScriptedClient
from upstreams.client import errors
from upstreams.client.types import CreateRequest, Video, VideoPage
from upstreams.clock import database_now, shifted
from upstreams.registry import Upstream
from videos import tasks
from videos.models import Job, JobEvent, Submission
from videos.queue.dispatch import all_due_work
from videos.reconciliation.restored import books
from videos.reconciliation.restored.books import forget_checks
from videos.references.images import check
from videos.references.keep import keep
from videos.references.load import as_asked

pytestmark = pytest.mark.django_db
MakeJob = Callable[..., Job]
HOUR = timedelta(hours=1)
OLD = datetime.now(UTC) - timedelta(days=3)


@pytest.fixture(autouse=True)
def _here(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_checks()
    configure(monkeypatch, upstream)


def restore(jobs: list[Job]) -> None:
    """The rows as a backup has them that was taken before these jobs were sent; every process starts anew."""
    Submission.objects.filter(job__in=jobs).delete()
    JobEvent.objects.filter(job__in=jobs).exclude(number=1).delete()
    for job in jobs:
        Job.objects.filter(pk=job.pk).update(status="pending", started_at=None, reservation=job.reservation)
    forget_checks()


def recover(*options: str) -> str:
    said = StringIO()
    call_command("recover", *options, stdout=said)
    return said.getvalue()


def sent_before(make_job: MakeJob) -> None:
    make_job("sent before the backup")
    tasks.submit()


@pytest.mark.parametrize("earlier", [True, False], ids=["after earlier jobs", "before any was accepted"])
def test_jobs_of_a_restored_backup_are_not_paid_again(
    earlier: bool, make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    object.__setattr__(upstream, "concurrency", 20)
    if earlier:
        sent_before(make_job)
    paid_before = len(sora.creates)
    jobs = [make_job() for _ in range(6)]
    tasks.submit()
    assert len(sora.creates) == paid_before + 6
    restore(jobs)

    tasks.submit()
    assert len(sora.creates) == paid_before + 6, "nothing is paid before the books are compared"
    provider = upstream.provider()
    assert "newer than our books (6" in provider.stop_reason
    assert not [work for work in all_due_work() if work.task == "submit"]

    assert "Nothing was changed" in recover()
    assert Submission.objects.filter(job__in=jobs).count() == 0
    assert "Given to their jobs: 6." in recover("--apply")
    assert upstream.provider().stopped_at is None
    tasks.submit()
    assert len(sora.creates) == paid_before + 6
    owned = {job.submissions.get().upstream_id for job in jobs}
    assert len(owned) == 6
    assert owned <= set(sora.videos)
    reserved = [each.price for each in Submission.objects.filter(job__in=jobs, cost_state="reserved")]
    assert sum(price or Decimal(0) for price in reserved) == 6 * (jobs[0].estimated_cost or 0)
    assert {Job.objects.get(pk=job.pk).status for job in jobs} == {"processing"}


@pytest.mark.parametrize(("dates", "earlier"), [("none", True), ("none", False), ("an hour early", True)])
def test_jobs_of_a_backup_are_not_paid_again_by_an_upstream_whose_dates_say_little(
    dates: str, earlier: bool, make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    accept = sora.add

    def add(request: CreateRequest) -> Video:
        video = accept(request, created_at=database_now() - timedelta(hours=1))
        if dates == "none":
            video = sora.videos[video.id] = replace(video, created_at=None)
        return video

    sora.add = add  # type: ignore[method-assign, assignment]
    if earlier:
        sent_before(make_job)
    job = make_job()
    tasks.submit()
    paid = len(sora.creates)
    restore([job])
    tasks.submit()
    assert len(sora.creates) == paid
    assert "Given to their jobs: 1." in recover("--apply")
    tasks.submit()
    assert len(sora.creates) == paid


def test_an_old_video_without_a_date_is_not_newer_than_our_books(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    old = sora.add(CreateRequest("somebody else's", "sora-2", "4", "1280x720"))
    sora.videos[old.id] = replace(old, created_at=None)
    sent_before(make_job)
    forget_checks()
    make_job()
    tasks.submit()
    assert len(sora.creates) == 3


def test_a_list_that_does_not_show_our_newest_one_keeps_creates_waiting(
    make_job: MakeJob,
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(3):
        sora.add(CreateRequest(f"old {number}", "sora-2", "4", "1280x720"), created_at=OLD + number * HOUR)
    sent_before(make_job)
    job = make_job()
    tasks.submit()
    restore([job])
    newest_first = sora.list

    def oldest_first(**asked: Any) -> VideoPage:
        page = newest_first(**asked)
        return replace(page, videos=page.videos[::-1][:3], next_after="more")

    monkeypatch.setattr(sora, "list", oldest_first)
    tasks.submit()
    assert len(sora.creates) == 5, "three old ones, one before the backup, one after it"
    assert "it is not newest first" in caplog.text
    with pytest.raises(CommandError, match="cannot be read back"):
        recover()
    recover("--apply", "--without-list")
    forget_checks()
    tasks.submit()
    assert len(sora.creates) == 6, "an operator answers for it"


def test_an_attempt_of_unknown_outcome_hides_no_video_of_a_waiting_job(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    object.__setattr__(upstream, "concurrency", 20)
    sent_before(make_job)

    def no_answer(request: CreateRequest) -> None:
        raise errors.OutcomeUnknown("no answer")

    sora.before = no_answer
    make_job("of unknown outcome")
    tasks.submit()
    sora.before = None
    # Its clock was set once: what it dates otherwise may be any attempt's.
    provider = upstream.provider()
    provider.proves_absence = False
    provider.failures = 0
    provider.sending_backoff_until = None
    provider.save()
    jobs = [make_job() for _ in range(3)]
    tasks.submit()
    paid = len(sora.creates)
    assert paid == 4
    restore(jobs)
    tasks.submit()
    assert len(sora.creates) == paid
    assert "newer than our books (3" in upstream.provider().stop_reason


@pytest.mark.parametrize(("state", "cost"), [("absent", "returned"), ("given_up", "settled")])
def test_an_ended_attempt_of_a_waiting_job_explains_no_video_of_its_next_attempt(
    state: str, cost: str, make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    """The backup has the first attempt, and not the second, which came within the time of the first."""
    sent_before(make_job)
    job = make_job()
    tasks.submit()
    restore([job])
    now = database_now()
    provider = upstream.provider()
    Submission.objects.create(
        job=job, number=1, provider=provider, match_key=job.match_key, state=state, cost_state=cost,
        request=job.fitted, model="sora-2", seconds="4", lease_until=now + timedelta(seconds=70),
        give_up_at=now + HOUR, created_at=now - timedelta(seconds=5), ended_at=now,
    )  # fmt: skip
    paid = len(sora.creates)
    tasks.submit()
    assert len(sora.creates) == paid
    assert "newer than our books (1" in upstream.provider().stop_reason
    assert "Given to their jobs: 1." in recover("--apply")
    tasks.submit()
    assert len(sora.creates) == paid


def test_an_attempt_that_ended_long_before_the_backup_explains_no_newer_video(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    job = make_job("alike")
    tasks.submit()
    Submission.objects.filter(job=job).update(
        state="absent",
        upstream_id=None,
        cost_state="returned",
        created_at=OLD,
        lease_until=OLD,
        ended_at=OLD,
    )
    Job.objects.filter(pk=job.pk).update(status="cancelled")
    sora.videos.clear()
    sent_before(make_job)
    later = make_job("alike")
    tasks.submit()
    paid = len(sora.creates)
    restore([later])
    tasks.submit()
    assert len(sora.creates) == paid


def test_a_process_that_starts_on_its_own_books_sends_at_once(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    sent_before(make_job)
    forget_checks()
    make_job()
    tasks.submit()
    assert len(sora.creates) == 2


def test_while_it_goes_on_the_list_is_not_read_before_each_create(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    sent_before(make_job)
    lists = sora.lists
    make_job()
    tasks.submit()
    assert sora.lists == lists
    make_job()
    with shifted(timedelta(seconds=301)):
        tasks.submit()
    assert sora.lists == lists + 1, "after a gap it is"


def test_a_create_that_is_answered_during_the_comparison_is_no_video_that_our_books_lack(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_before(make_job)
    job = make_job("on its way")
    tasks.submit()
    accepted = dict(Submission.objects.filter(job=job).values("state", "upstream_id", "accepted_at")[0])
    # Another worker is between its create and the commit of the answer.
    Submission.objects.filter(job=job).update(state="sending", upstream_id=None, accepted_at=None)
    forget_checks()
    read_owned = books.unowned

    def then_it_is_answered(*arguments: Any) -> Any:
        found = read_owned(*arguments)
        Submission.objects.filter(job=job).update(**accepted)
        return found

    monkeypatch.setattr(books, "unowned", then_it_is_answered)
    make_job("waiting")
    tasks.submit()
    assert upstream.provider().stopped_at is None
    assert len(sora.creates) == 3


def test_a_create_of_unknown_outcome_is_no_video_that_our_books_lack(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    sent_before(make_job)

    def lost(video: object) -> None:
        raise errors.OutcomeUnknown("reset")

    sora.after = lost
    make_job()
    tasks.submit()
    sora.after = None
    forget_checks()
    make_job()
    tasks.submit()
    assert upstream.provider().stopped_at is None
    assert len(sora.creates) == 3


def test_an_attempt_without_an_id_explains_one_video_and_no_other(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    object.__setattr__(upstream, "concurrency", 20)
    sent_before(make_job)

    def lost(video: object) -> None:
        raise errors.OutcomeUnknown("reset")

    sora.after = lost
    make_job()
    tasks.submit()
    sora.after = None
    later = [make_job(), make_job()]
    tasks.submit()
    restore(later)
    tasks.submit()
    assert len(sora.creates) == 4
    assert "newer than our books (2" in upstream.provider().stop_reason


def test_nothing_is_sent_while_the_list_cannot_be_read(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    sent_before(make_job)
    forget_checks()
    sora.list_error = errors.Unavailable("away")
    make_job()
    tasks.submit()
    assert len(sora.creates) == 1
    sora.list_error = None
    forget_checks()
    tasks.submit()
    assert len(sora.creates) == 2


def test_a_list_that_refuses_us_keeps_no_job_waiting(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    sent_before(make_job)
    forget_checks()
    sora.list_error = errors.Rejected("no such parameter", status=400, code=None, param=None)
    make_job()
    tasks.submit()
    assert len(sora.creates) == 2
    assert "cannot be compared" in caplog.text


def test_videos_of_somebody_else_are_declared_foreign_once(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    sent_before(make_job)
    forget_checks()
    foreign = sora.add(CreateRequest("somebody else's", "sora-2", "4", "1280x720"))
    make_job()
    tasks.submit()
    assert upstream.provider().stopped_at is not None
    assert f"{foreign.id} of" in recover()
    assert "stays stopped" in recover("--apply")
    assert "creates continue" in recover("--apply", "--foreign", foreign.id)
    tasks.submit()
    assert len(sora.creates) == 3
    forget_checks()
    make_job()
    tasks.submit()
    assert len(sora.creates) == 4, "it does not count again"


def test_whose_of_two_owners_a_video_is_cannot_be_told(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    object.__setattr__(upstream, "concurrency", 20)
    sent_before(make_job)
    jobs = [make_job("a boat"), make_job("a boat", by=User.objects.create_user("bob"))]
    sora.add(CreateRequest(**jobs[0].fitted))
    forget_checks()
    tasks.submit()
    assert upstream.provider().stopped_at is not None
    assert "belongs to no waiting job that can be told" in recover("--apply")
    assert {Job.objects.get(pk=job.pk).status for job in jobs} == {"pending"}


def test_which_of_two_pictures_a_video_began_with_cannot_be_told(
    make_job: MakeJob, owner: User, upstream: Upstream, sora: ScriptedClient
) -> None:
    object.__setattr__(upstream, "concurrency", 20)
    sent_before(make_job)
    pictures = [keep(check(flat("PNG", (1280, 720))), owner), keep(check(plain("PNG", (1280, 720))), owner)]
    jobs = [make_job("a boat", input_reference=as_asked(picture)) for picture in pictures]
    assert jobs[0].match_key == jobs[1].match_key
    sora.add(CreateRequest(**jobs[0].fitted))
    forget_checks()
    tasks.submit()
    assert "belongs to no waiting job that can be told" in recover("--apply")
    assert {Job.objects.get(pk=job.pk).status for job in jobs} == {"pending"}
