"""Videos that are made from another one, when it is not known whether they were accepted: what a list, a
restored backup or a change of the upstream may make of them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from tests.configured import configure
from tests.from_source.making import Make, listed
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_reconcile import dropped, search_at, through_the_window
from tests.videos.test_recover import recover, restore
from tests.videos.test_submit import only, raising
from upstreams.client import errors
from upstreams.client.dialects import DIALECTS
from upstreams.client.types import CreateRequest, Video
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.offer.catalogue import SORA
from upstreams.registry import Upstream
from videos import tasks
from videos.lifecycle.cancel import cancel
from videos.lifecycle.retry import retry
from videos.models import Job, Submission
from videos.reconciliation.reconcile import reconcile
from videos.reconciliation.restored import books
from videos.reconciliation.restored.books import forget_checks

pytestmark = pytest.mark.django_db

EVERY = pytest.mark.parametrize("operation", ["remix", "edit", "extend"])
# A plain request whose video shows the same fields as an edit of the source does.
ALIKE: dict[str, Any] = {"prompt": "the same boat by night", "duration": 8, "aspect_ratio": "9:16"}


def silent(video: Video) -> Video:
    """As a server shows a remix that does not say what it is made from."""
    return replace(video, remixed_from=None)


@EVERY
def test_one_that_was_not_answered_does_not_stop_the_upstream(
    make: Make, upstream: Upstream, sora: ScriptedClient, operation: str
) -> None:
    made = make(operation)
    sora.after = dropped
    assert submit_next(upstream)
    assert only(made).state == "unknown"
    # A process starts, which compares the list with our books.
    forget_checks()
    assert books.may_create(upstream)
    assert Provider.objects.get().stopped_at is None


@EVERY
def test_one_that_is_being_answered_does_not_stop_the_upstream(
    make: Make, upstream: Upstream, sora: ScriptedClient, operation: str
) -> None:
    made = make(operation)
    seen = []

    def meanwhile(video: Video) -> Video:
        shown = sora.videos[video.id] = silent(video)
        forget_checks()
        seen.append(books.may_create(upstream))
        return shown

    sora.after = meanwhile
    assert submit_next(upstream)
    assert seen == [True]
    assert only(made).state == "rendering"


def test_a_video_that_our_books_do_not_know_still_stops_it(
    make: Make, upstream: Upstream, sora: ScriptedClient
) -> None:
    make("edit")
    sora.after = dropped
    assert submit_next(upstream)
    # An attempt explains one video, and not two.
    sora.add(replace(sora.creates[-1], prompt="something else"))
    forget_checks()
    assert not books.may_create(upstream)


def test_a_new_video_is_not_found_in_that_of_an_edit(
    make: Make, make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    plain = make_job(**ALIKE)
    sora.before = raising(errors.OutcomeUnknown("never arrived"))
    assert submit_next(upstream)
    sora.before = None
    edit = make("edit")
    sora.after = dropped
    assert submit_next(upstream)
    assert through_the_window(plain, upstream).state == "unknown"
    assert (only(plain).upstream_id, only(edit).upstream_id) == (None, None)


@EVERY
def test_a_new_video_is_not_found_in_one_that_is_being_answered(
    make: Make, make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, operation: str
) -> None:
    plain = make_job(**ALIKE)
    sora.before = raising(errors.OutcomeUnknown("never arrived"))
    assert submit_next(upstream)
    sora.before = None
    made = make(operation)

    def meanwhile(video: Video) -> Video:
        shown = sora.videos[video.id] = replace(silent(video), seconds="8")
        Submission.objects.filter(job=plain).update(due_at=database_now() - timedelta(seconds=1))
        reconcile(only(plain), upstream)
        return shown

    sora.after = meanwhile
    assert submit_next(upstream)
    assert (only(plain).state, only(made).state) == ("unknown", "rendering")
    assert Provider.objects.get().reused_ids == 0
    # Once that one is decided, the other is looked for as ever.
    late = sora.add(CreateRequest(**only(plain).request))
    assert search_at(plain, upstream, 5.5).upstream_id == late.id


@EVERY
def test_what_was_accepted_late_is_not_paid_again(
    make: Make, upstream: Upstream, sora: ScriptedClient, settings: Settings, operation: str
) -> None:
    made = make(operation)

    def late(request: CreateRequest) -> None:
        seconds = upstream.lease + settings.SORA_CLOCK_SKEW + 5
        video = sora.add(request, created_at=database_now() + timedelta(seconds=seconds))
        sora.videos[video.id] = silent(video)
        raise errors.OutcomeUnknown("reset")

    sora.before = late
    assert submit_next(upstream)
    sora.before = None
    assert through_the_window(made, upstream).state == "unknown"
    assert only(made).number == 1


@EVERY
def test_a_restored_backup_gives_its_video_to_it(
    make: Make, upstream: Upstream, sora: ScriptedClient, operation: str
) -> None:
    made = make(operation)
    tasks.submit()
    paid, video_id = len(sora.creates), only(made).upstream_id
    restore([made])
    tasks.submit()
    assert len(sora.creates) == paid, "it was paid again"
    assert f"{video_id} of" in recover()
    recover("--apply")
    assert only(made).upstream_id == video_id
    tasks.submit()
    assert len(sora.creates) == paid


@pytest.mark.parametrize("is_of_another_owner", [False, True])
def test_a_restored_backup_gives_its_video_to_no_new_job(
    make: Make,
    make_job: Callable[..., Job],
    upstream: Upstream,
    sora: ScriptedClient,
    is_of_another_owner: bool,
) -> None:
    made = make("edit")
    tasks.submit()
    paid = len(sora.creates)
    restore([made])
    by = User.objects.create_user("bob") if is_of_another_owner else None
    plain = make_job(**ALIKE, by=by)
    assert "belongs to no waiting job that can be told" in recover("--apply")
    tasks.submit()
    assert not Submission.objects.filter(job__in=[plain, made]).exists()
    assert len(sora.creates) == paid


def test_two_edits_of_different_videos_are_not_told_apart_after_a_restore(
    make: Make, source: Job, make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    first = make("edit")
    tasks.submit()
    restore([first])
    second = make("extend")
    assert "belongs to no waiting job" in recover("--apply")
    assert not Submission.objects.filter(job__in=[first, second]).exists()


@pytest.mark.parametrize("operation", ["remix", "extend"])
def test_of_two_videos_with_its_prompt_a_job_gets_its_own_or_none(
    make: Make, make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, operation: str
) -> None:
    made = make(operation)
    tasks.submit()
    mine = only(made).upstream_id
    plain = make_job(**ALIKE, by=User.objects.create_user("bob"))
    tasks.submit()
    theirs = only(plain).upstream_id
    restore([made])
    # The backup does not know the other one's job at all.
    restore([plain])
    Job.objects.filter(pk=plain.pk).update(status="cancelled")
    recover("--apply")
    taken = list(Submission.objects.filter(job=made).values_list("upstream_id", flat=True))
    # A remix is told by what it is made from; nothing tells an extension.
    assert taken == ([mine] if operation == "remix" else [])
    assert theirs not in taken


def test_a_video_of_another_size_is_not_taken_for_an_extension(
    make: Make, make_job: Callable[..., Job], upstream: Upstream
) -> None:
    plain = make_job("the same boat by night", duration=8, aspect_ratio="16:9")
    tasks.submit()
    restore([plain])
    Job.objects.filter(pk=plain.pk).update(status="cancelled")
    made = make("extend")
    recover("--apply")
    assert not Submission.objects.filter(job=made).exists()


def test_a_recovery_goes_on_where_its_upstream_has_another_name(
    make: Make, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("remix")
    tasks.submit()
    restore([made])
    configure(monkeypatch, replace(upstream, name="new"))
    forget_checks()
    tasks.submit()
    recover("--apply")
    assert not Submission.objects.filter(job=made).exists()


def failed(made: Job, sora: ScriptedClient) -> str:
    """Why a job failed of which nothing was sent after the first create, and nothing is reserved."""
    made.refresh_from_db()
    assert (made.status, made.error_code, made.reservation) == ("failed", "source_gone", None)
    assert [each.state for each in made.submissions.all()] == ["unsent"]
    assert len(sora.creates) == 1
    return made.error_message


def test_what_another_dialect_does_not_have_is_not_sent(
    make: Make, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("edit")
    changed = replace(upstream, dialect=DIALECTS["azure"])
    configure(monkeypatch, changed)
    assert submit_next(changed)
    assert "Nothing was sent" in failed(made, sora)


def test_what_the_operator_offers_no_more_is_not_sent(
    make: Make, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, listed(upstream, "0.5"))
    made = make("edit")
    cancel(made)
    models = {name: replace(each, operations=frozenset()) for name, each in SORA.models.items()}
    changed = replace(upstream, catalogue=replace(SORA, models=models))
    configure(monkeypatch, changed)
    retry(made)
    assert submit_next(changed)
    assert "any more" in failed(made, sora)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id_reused": True}, "to another one"),
        ({"expires_at": timedelta(seconds=-1)}, "does not have the video any more"),
    ],
)
def test_what_became_of_the_source_meanwhile_counts(
    make: Make, source: Job, upstream: Upstream, sora: ScriptedClient, changes: dict[str, Any], says: str
) -> None:
    made = make("remix")
    past = {name: database_now() + each if name == "expires_at" else each for name, each in changes.items()}
    Submission.objects.filter(job=source).update(**past)
    assert submit_next(upstream)
    assert says in failed(made, sora)
    retry(made)
    submit_next(upstream)
    assert len(sora.creates) == 1
