"""An upstream that gives ids again, forgets what it accepted, or is another one under the same name."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError
from pytest_django import Settings

from tests.configured import configure
from tests.videos.scripted import ScriptedClient, clip, scripted
from tests.videos.sending import claim_next, send, submit_next
from tests.videos.test_reconcile import dropped, search_at
from tests.videos.test_submit import only, raising
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.client.types import CreateRequest, Phase, Video
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.poll import UpstreamUnavailable, ask_now
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.outcomes import accept, record_unknown
from videos.lifecycle.retry import retry
from videos.models import Job, Submission, locked
from videos.queue import providers
from videos.queue.attend import attend, attend_to
from videos.queue.dispatch import all_due_work, probe
from videos.reconciliation import decisions

pytestmark = pytest.mark.django_db
MakeJob = Callable[..., Job]


@pytest.fixture(autouse=True)
def _window(settings: Settings) -> None:
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]


def work(upstream: Upstream, *, after: float) -> None:
    """All that is due so many seconds from now, but for sending."""
    with shifted(timedelta(seconds=after)):
        for due in all_due_work():
            if due.task == "sweep":
                sweep(upstream)
            elif due.task == "probe":
                probe(upstream)
            elif due.kind is not None:
                attend(upstream, due.kind)


def until(upstream: Upstream, seconds: float) -> None:
    """Works from now on, once in ten seconds."""
    for after in range(3, int(seconds) + 1, 10):
        work(upstream, after=after)


def accepted(upstream: Upstream, make_job: MakeJob, *prompts: str) -> list[Submission]:
    """Jobs that the upstream renders."""
    found = []
    for prompt in prompts or ("",):
        job = make_job(prompt)
        assert submit_next(upstream)
        found.append(only(job))
    return found


def stored(upstream: Upstream, sora: ScriptedClient, submission: Submission) -> Submission:
    sora.complete(str(submission.upstream_id))
    sora.content = clip()
    sweep(upstream)
    submission.refresh_from_db()
    attend_to(submission, upstream)
    submission.refresh_from_db()
    assert submission.state == "stored"
    return submission


def answer_as(sora: ScriptedClient, video_id: str, *, later: float) -> None:
    """Creates are answered with this id, and its video is dated so many seconds later."""

    def again(video: Video) -> Video:
        del sora.videos[video.id]
        assert video.created_at is not None
        made = replace(video, id=video_id, created_at=video.created_at + timedelta(seconds=later))
        sora.videos[video_id] = made
        return made

    sora.after = again


def provider() -> Provider:
    return Provider.objects.get()


# An id that is given again.


def test_a_new_video_under_the_id_of_one_that_ended_is_told_by_its_date(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = accepted(upstream, make_job)
    stored(upstream, sora, first)
    answer_as(sora, str(first.upstream_id), later=3)
    (second,) = accepted(upstream, make_job)
    first.refresh_from_db()
    assert (second.state, second.upstream_id) == ("rendering", first.upstream_id)
    assert Job.objects.get(pk=second.job_id).status == "processing"
    assert first.id_reused
    assert not second.id_reused
    assert "is given to" in caplog.text
    assert stored(upstream, sora, second).cost_state == "settled"
    assert len(sora.creates) == 2


def without_date(submission: Submission) -> None:
    """Its create was answered without a date that can be read."""
    Submission.objects.filter(pk=submission.pk).update(upstream_created_at=None)


@pytest.mark.parametrize(("after", "state"), [(60, "rendering"), (5, "unknown")])
def test_a_later_video_under_the_id_of_one_without_a_date_is_told_by_when_that_was_accepted(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, after: float, state: str
) -> None:
    (first,) = accepted(upstream, make_job)
    without_date(stored(upstream, sora, first))
    answer_as(sora, str(first.upstream_id), later=0)
    with shifted(timedelta(seconds=after)):
        (second,) = accepted(upstream, make_job)
    first.refresh_from_db()
    assert (second.state, first.id_reused) == (state, state == "rendering")


def test_of_an_id_without_a_date_an_operator_says_whose_it_is(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    (first,) = accepted(upstream, make_job)
    without_date(stored(upstream, sora, first))
    video_id = str(first.upstream_id)
    answer_as(sora, video_id, later=0)
    (second,) = accepted(upstream, make_job)
    sora.complete(video_id)
    with pytest.raises(decisions.Refused, match="belongs to"):
        decisions.adopt(second, video_id)
    assert decisions.adopt(second, video_id, force=True)
    second.refresh_from_db()
    first.refresh_from_db()
    assert (second.upstream_id, first.id_reused, len(sora.creates)) == (video_id, True, 2)
    stored(upstream, sora, second)


def test_an_id_that_is_given_again_twice_stops_the_upstream(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = accepted(upstream, make_job)
    stored(upstream, sora, first)
    answer_as(sora, str(first.upstream_id), later=3)
    (second,) = accepted(upstream, make_job)
    assert provider().stopped_at is None
    stored(upstream, sora, second)
    answer_as(sora, str(first.upstream_id), later=6)
    (third,) = accepted(upstream, make_job)
    assert third.state == "rendering", "the last create is still told apart"
    assert provider().stopped_at is not None
    assert str(first.upstream_id) in provider().stop_reason
    assert any(record.levelname == "ERROR" and "is stopped" in record.message for record in caplog.records)
    make_job()
    with shifted(timedelta(seconds=60)):
        assert not submit_next(upstream)
    providers.resume(upstream.name)
    assert provider().reused_ids == 0
    with shifted(timedelta(seconds=60)):
        assert submit_next(upstream)


def test_ids_of_what_was_accepted_as_lost_may_all_be_given_again(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    before = [stored(upstream, sora, each) for each in accepted(upstream, make_job, "one", "two", "three")]
    accepted(upstream, make_job, "four", "five")
    another_account(sora)
    until(upstream, 60)
    with shifted(timedelta(seconds=60)):
        providers.resume(upstream.name, accept_losses=True)
    with shifted(timedelta(seconds=70)):
        for each in before:
            answer_as(sora, str(each.upstream_id), later=0)
            (again,) = accepted(upstream, make_job)
            assert (again.state, again.upstream_id) == ("rendering", each.upstream_id)
            stored(upstream, sora, again)
        assert (provider().stopped_at, provider().reused_ids) == (None, 0)
        # What was accepted since is known to it.
        for later in (3, 6):
            answer_as(sora, str(before[0].upstream_id), later=later)
            (again,) = accepted(upstream, make_job)
            stored(upstream, sora, again)
        assert provider().stopped_at is not None


def test_an_operator_gives_it_a_video_under_an_id_that_was_given_before(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    first, _other = accepted(upstream, make_job, "one", "two")
    answer_as(sora, str(first.upstream_id), later=-300)
    job = make_job()
    submit_next(upstream)
    second = only(job)
    assert (second.state, second.create_succeeded) == ("unknown", True)
    with pytest.raises(decisions.Refused, match="has not ended"):
        decisions.adopt(second, str(first.upstream_id), force=True)
    until(upstream, 200)
    first.refresh_from_db()
    assert first.state == "lost"
    with pytest.raises(decisions.Refused, match="say --force"):
        decisions.adopt(second, str(first.upstream_id))
    assert decisions.adopt(second, str(first.upstream_id), force=True)
    first.refresh_from_db()
    assert (only(job).state, only(job).upstream_id) == ("rendering", first.upstream_id)
    assert first.id_reused


@pytest.mark.parametrize("how", ["same date", "no date", "still live", "other fields"])
def test_what_cannot_be_told_apart_is_never_sent_again(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, how: str
) -> None:
    (first,) = accepted(upstream, make_job)
    if how != "still live":
        stored(upstream, sora, first)
    before = sora.videos[str(first.upstream_id)]

    def again(video: Video) -> Video:
        # Forgotten at once.
        del sora.videos[video.id]
        assert before.created_at is not None
        made = None if how == "no date" else before.created_at + timedelta(seconds=3)
        changes = {"size": "1x1"} if how == "other fields" else {}
        made = before.created_at if how == "same date" else made
        return replace(video, id=before.id, created_at=made, **changes)

    sora.after = again
    job = make_job()
    submit_next(upstream)
    sora.after = None
    until(upstream, 700)
    submission = only(job)
    assert (submission.state, submission.create_succeeded, submission.cost_state) == (
        "unknown",
        True,
        "reserved",
    )
    with shifted(timedelta(seconds=700)):
        assert not submit_next(upstream)
    assert len(sora.creates) == 2


@pytest.mark.parametrize("when", ["at once", "after the window"])
def test_a_create_that_was_answered_with_2xx_is_never_absent_by_proof(
    job: Job, upstream: Upstream, sora: ScriptedClient, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    sora.before = raising(errors.OutcomeUnknown("accepted (200), but it is no JSON", succeeded=True))
    if when == "at once":
        submit_next(upstream)
    else:
        sora.before = raising(errors.OutcomeUnknown("timeout"))
        submit_next(upstream)
        assert search_at(job, upstream, 16).state == "absent"
        # The answer comes when the lease has long ended.
        record_unknown(only(job), "accepted (200), but it is no JSON", succeeded=True)
    until(upstream, 700)
    submission = only(job)
    assert (submission.state, submission.cost_state) == ("unknown", "reserved")
    assert "was answered with a 2xx" in caplog.text
    with shifted(timedelta(seconds=700)):
        assert not submit_next(upstream)
    assert decisions.declare_absent(submission), "a person may know better"


def test_a_2xx_is_kept_even_if_the_providers_row_cannot_be_written(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be locked, for longer than we wait, by who is frozen."""

    def locked_by_others(*_: object) -> None:
        raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setattr("videos.lifecycle.sending.outcome.record_failure", locked_by_others)
    sora.before = raising(errors.OutcomeUnknown("accepted (200), but no id", succeeded=True))
    submit_next(upstream)
    assert (only(job).state, only(job).create_succeeded) == ("unknown", True)


def test_a_2xx_that_comes_when_it_was_sent_again_is_settled(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    absent = search_at(job, upstream, 16)
    sora.before = None
    with shifted(timedelta(seconds=17)):
        assert submit_next(upstream)
    record_unknown(absent, "accepted (200), but it is no JSON", succeeded=True)
    absent.refresh_from_db()
    assert (absent.state, absent.cost_state) == ("given_up", "settled")


def test_an_unanswered_create_is_found_under_an_id_that_was_given_before(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    (first,) = accepted(upstream, make_job, "the same")
    stored(upstream, sora, first)
    answer_as(sora, str(first.upstream_id), later=3)
    again = sora.after
    assert again is not None

    def unanswered(video: Video) -> Video:
        again(video)
        return dropped(video)

    sora.after = unanswered
    job = make_job("the same")
    submit_next(upstream)
    assert search_at(job, upstream, 2.5).state == "rendering"
    first.refresh_from_db()
    assert (first.state, first.id_reused, only(job).upstream_id) == ("stored", True, first.upstream_id)


def test_a_video_of_another_date_under_its_id_is_not_its_own(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    (rendering, _other) = accepted(upstream, make_job, "one", "two")
    before = sora.videos[str(rendering.upstream_id)]
    assert before.created_at is not None
    sora.videos[before.id] = replace(before, created_at=before.created_at + timedelta(seconds=9))
    sora.complete(before.id)
    until(upstream, 100)
    rendering.refresh_from_db()
    assert rendering.state == "rendering", "its job gets no video of somebody else"
    until(upstream, 200)
    rendering.refresh_from_db()
    assert (rendering.state, rendering.error_code) == ("lost", "upstream_lost")


def test_a_file_is_not_fetched_under_an_id_that_names_another_video_now(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    (rendered, _other) = accepted(upstream, make_job, "one", "two")
    sora.complete(str(rendered.upstream_id))
    sweep(upstream)
    before = sora.videos[str(rendered.upstream_id)]
    assert before.created_at is not None
    sora.content = clip()
    sora.videos[before.id] = replace(before, created_at=before.created_at + timedelta(seconds=9))
    until(upstream, 3)
    # The first try is due at once, and may still be right; here the media was away until now.
    Job.objects.filter(pk=rendered.job_id).update(status="processing", video="", completed_at=None)
    Submission.objects.filter(pk=rendered.pk).update(state="rendered", due_at=database_now())
    for after in range(70, 400, 30):
        work(upstream, after=after)
    rendered.refresh_from_db()
    assert (rendered.state, rendered.error_code) == ("lost", "result_lost")


@pytest.mark.parametrize("answer", ["another", "none", "its own"])
def test_a_cancel_deletes_no_other_video_that_has_its_id_now(
    answer: str, make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    (rendered,) = accepted(upstream, make_job)
    sora.complete(str(rendered.upstream_id))
    sweep(upstream)
    before = sora.videos[str(rendered.upstream_id)]
    assert before.created_at is not None
    if answer == "another":
        sora.videos[before.id] = replace(before, created_at=before.created_at + timedelta(seconds=9))
    elif answer == "none":
        sora.retrieve_error = errors.Unavailable("502")
    cancel(rendered.job)
    work(upstream, after=1)
    rendered.refresh_from_db()
    assert rendered.state == ("dropping" if answer == "none" else "dropped")
    assert sora.deleted == ([before.id] if answer == "its own" else [])
    sora.retrieve_error = None
    work(upstream, after=100)
    rendered.refresh_from_db()
    assert rendered.state == "dropped"


# An upstream that does not know what we know.


def another_account(sora: ScriptedClient, *strangers: str) -> dict[str, Video]:
    """The upstream has other videos from now on; returns those that it had."""
    had = dict(sora.videos)
    sora.videos.clear()
    for prompt in strangers:
        sora.add(CreateRequest(prompt, "sora-2", "4", "1280x720"))
        # It is theirs, not one of our creates.
        sora.creates.pop()
    return had


def test_another_account_fails_no_job_and_gets_no_create(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    renders = accepted(upstream, make_job, "one", "two")
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    unknown = make_job()
    submit_next(upstream)
    sora.before = None
    waiting = make_job()
    had = another_account(sora, "a stranger")
    until(upstream, 400)
    assert {each.state for each in Submission.objects.exclude(job=unknown)} == {"rendering"}
    assert (only(unknown).state, only(unknown).cost_state) == ("unknown", "reserved")
    with shifted(timedelta(seconds=400)):
        assert not submit_next(upstream)
    assert "is not the upstream that we know" in caplog.text
    assert provider().unrecognized_at is not None
    with pytest.raises(UpstreamUnavailable), shifted(timedelta(seconds=400)):
        ask_now(renders[0].job)
    # The setting is mended.
    sora.videos = had
    for after in (420, 440, 460):
        work(upstream, after=after)
    assert provider().unrecognized_at is None
    assert "knows our ids again" in caplog.text
    assert {each.state for each in Submission.objects.exclude(job=unknown)} == {"rendering"}
    assert only(unknown).state == "absent"
    with shifted(timedelta(seconds=470)):
        assert submit_next(upstream)
        assert submit_next(upstream)
    assert waiting.submissions.count() == 1
    assert len(sora.creates) == 4


def test_what_is_accepted_at_another_account_does_not_make_it_the_one_that_we_know(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    first, second = accepted(upstream, make_job, "one", "two")
    work(upstream, after=3)
    another_account(sora)
    with shifted(timedelta(seconds=4)):
        (there,) = accepted(upstream, make_job, "three")
        assert there.upstream_id in sora.videos
    until(upstream, 400)
    assert provider().unrecognized_at is not None
    for each in (first, second, there):
        each.refresh_from_db()
        assert each.state == "rendering"


def test_an_upstream_is_doubted_at_the_first_search_that_misses_several(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    accepted(upstream, make_job, "one", "two")
    another_account(sora)
    work(upstream, after=6)
    assert provider().unrecognized_at is not None
    make_job()
    with shifted(timedelta(seconds=7)):
        assert not submit_next(upstream)


def test_a_single_render_is_lost_only_where_the_upstream_shows_another_of_ours(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    (finished,) = accepted(upstream, make_job)
    stored(upstream, sora, finished)
    (render,) = accepted(upstream, make_job)
    del sora.videos[str(render.upstream_id)]
    until(upstream, 200)
    render.refresh_from_db()
    assert (render.state, provider().unrecognized_at) == ("lost", None)
    assert Job.objects.get(pk=render.job_id).error_code == "upstream_lost"


@pytest.mark.parametrize("others", ["a finished one", "none"])
def test_a_single_render_is_not_lost_where_the_upstream_shows_none_of_ours(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, others: str
) -> None:
    if others == "a finished one":
        stored(upstream, sora, accepted(upstream, make_job)[0])
    (render,) = accepted(upstream, make_job)
    another_account(sora, "a stranger")
    until(upstream, 300)
    render.refresh_from_db()
    assert (render.state, Job.objects.get(pk=render.job_id).status) == ("rendering", "processing")
    assert provider().unrecognized_at is not None


def test_without_a_list_it_is_asked_for_what_it_must_know(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(replace(OPENAI, lists=False))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    lost, kept = accepted(upstream, make_job, "one", "two")
    had = dict(sora.videos)
    del sora.videos[str(lost.upstream_id)]
    until(upstream, 200)
    lost.refresh_from_db()
    assert lost.state == "lost"
    sora.videos.clear()
    until(upstream, 600)
    kept.refresh_from_db()
    assert kept.state == "rendering"
    assert provider().unrecognized_at is not None
    sora.videos = had
    for after in (620, 640):
        work(upstream, after=after)
    assert provider().unrecognized_at is None


def test_a_rendered_file_is_not_lost_at_another_account(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    (render,) = accepted(upstream, make_job)
    sora.complete(str(render.upstream_id))
    sweep(upstream)
    had = another_account(sora, "a stranger")
    until(upstream, 400)
    render.refresh_from_db()
    assert (render.state, Job.objects.get(pk=render.job_id).status) == ("rendered", "processing")
    sora.videos, sora.content = had, clip()
    for after in (420, 440, 460, 520):
        work(upstream, after=after)
    render.refresh_from_db()
    assert render.state == "stored"


def test_nothing_is_given_up_at_another_account(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    accepted(upstream, make_job, "one", "two")
    another_account(sora)
    until(upstream, 60)
    assert provider().unrecognized_at is not None
    # It had been silent for more than an hour before another one answered.
    now = database_now()
    Submission.objects.update(silent_since=now - timedelta(hours=2), silent_at=now)
    with worked(settings.JOB_GIVE_UP_AFTER + 7_200):
        work(upstream, after=1)
    assert {each.state for each in Submission.objects.all()} == {"rendering"}


def test_nothing_is_dropped_at_another_account(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = scripted(replace(OPENAI, cancels=True))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    one, _two = accepted(upstream, make_job, "one", "two")
    had = another_account(sora)
    work(upstream, after=6)
    cancel(one.job)
    until(upstream, 200)
    one.refresh_from_db()
    assert one.state == "rendering"
    sora.videos = had
    for after in (220, 240):
        work(upstream, after=after)
    assert sora.deleted == [one.upstream_id]


def test_the_only_video_that_we_know_is_not_dropped_at_another_account(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After that nothing would be known by which to tell the account, and an empty list proved absence."""
    upstream = scripted(replace(OPENAI, cancels=True))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    (one,) = accepted(upstream, make_job, "one")
    sora.after = dropped
    paid = make_job("two")
    submit_next(upstream)
    sora.after = None
    had = another_account(sora)
    cancel(one.job)
    until(upstream, 200)
    assert (only(paid).state, len(sora.creates)) == ("unknown", 2)
    assert provider().unrecognized_at is not None
    sora.videos = had
    until(upstream, 400)
    one.refresh_from_db()
    assert (one.state, sora.deleted) == ("dropped", [one.upstream_id])
    assert only(paid).state == "rendering"


def test_a_delete_whose_answer_was_lost_is_known_to_be_ours(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(replace(OPENAI, cancels=True))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    (one,) = accepted(upstream, make_job, "one")
    cancel(one.job)
    sora.delete_error = errors.Unavailable("502")
    work(upstream, after=1)
    sora.delete_error = None
    sora.videos.clear()
    until(upstream, 60)
    one.refresh_from_db()
    assert one.state == "dropped"
    assert provider().unrecognized_at is None


def test_a_retry_waits_until_the_upstream_is_itself_again(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    (failed,) = accepted(upstream, make_job)
    sora.fail(str(failed.upstream_id))
    sweep(upstream)
    accepted(upstream, make_job, "one", "two")
    another_account(sora)
    until(upstream, 60)
    job = Job.objects.get(pk=failed.job_id)
    retry(job)
    with shifted(timedelta(seconds=60)):
        assert not submit_next(upstream)
    assert len(sora.creates) == 3


def test_a_create_claimed_before_the_doubt_is_not_posted(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    job = make_job()
    submission = claim_next(upstream)
    assert submission is not None
    Provider.objects.update(unrecognized_at=database_now())
    send(submission, upstream)
    assert (only(job).state, sora.creates) == ("unsent", [])


# An operator's word.


def test_an_operator_says_that_what_it_does_not_know_is_lost(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    renders = accepted(upstream, make_job, "one", "two")
    sora.before = raising(errors.OutcomeUnknown("reset"))
    unknown = make_job()
    submit_next(upstream)
    sora.before = None
    another_account(sora)
    until(upstream, 60)
    said = StringIO()
    call_command("resume_provider", upstream.name, stdout=said)
    assert "it still does not know our ids" in said.getvalue()
    assert provider().unrecognized_at is not None, "a plain word does not end it"
    said = StringIO()
    with shifted(timedelta(seconds=60)):
        call_command("resume_provider", upstream.name, "--accept-losses", stdout=said)
    assert "ended: not the upstream that we know" in said.getvalue()
    assert provider().unrecognized_at is None
    work(upstream, after=65)
    for each in renders:
        each.refresh_from_db()
        assert (each.state, Job.objects.get(pk=each.job_id).error_code) == ("lost", "upstream_lost")
    # What it lost may have been among it.
    assert only(unknown).state == "unknown"
    make_job()
    with shifted(timedelta(seconds=300)):
        assert submit_next(upstream)


def test_a_video_of_another_account_is_adopted_by_nobody(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    accepted(upstream, make_job, "one", "two")
    sora.after = dropped
    job = make_job()
    submit_next(upstream)
    sora.after = None
    another_account(sora)
    there = sora.add(CreateRequest(**job.fitted))
    Provider.objects.update(unrecognized_at=database_now(), unrecognized_reason="it is another")
    with pytest.raises(decisions.Refused, match="not the upstream that we know"):
        decisions.adopt(decisions.submission_named(f"{job.pk}/1"), there.id, force=True)
    until(upstream, 100)
    assert only(job).state == "unknown"


# A list that lacks what is ours.


def test_a_list_that_lacks_what_is_ours_proves_no_absence(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    render, other = accepted(upstream, make_job, "one", "two")
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    job = make_job()
    submit_next(upstream)
    sora.before = None
    sora.hidden = {str(render.upstream_id)}
    assert str(other.upstream_id) not in sora.hidden
    for after in (2.5, 5.5, 15.5, 30, 60):
        assert search_at(job, upstream, after).state == "unknown"
    sora.hidden = set()
    assert search_at(job, upstream, 120).state == "absent"


@pytest.mark.parametrize("forgotten", [True, False])
def test_an_old_video_that_the_list_lacks_and_the_upstream_knows_keeps_absence_from_being_proven(
    forgotten: bool, make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    """Such as a list that is empty for a while. What was forgotten in time proves nothing either way."""
    old, _shown = accepted(upstream, make_job, "", "")
    long_ago = database_now() - timedelta(days=1)
    Submission.objects.filter(pk=old.pk).update(ended_at=long_ago, state="stored", cost_state="settled")
    sora.hidden.add(str(old.upstream_id))
    if forgotten:
        del sora.videos[str(old.upstream_id)]
    job = make_job()
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    submission = only(job)
    for seconds in (2.5, 5.5, 15.5):
        submission = search_at(job, upstream, seconds)
    assert submission.state == ("absent" if forgotten else "unknown")


def test_a_finished_video_that_the_list_lacks_keeps_absence_from_being_proven(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    (finished,) = accepted(upstream, make_job)
    stored(upstream, sora, finished)
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    job = make_job()
    submit_next(upstream)
    # Its jobs are in memory, and the create has killed it.
    sora.videos.clear()
    for after in (2.5, 5.5, 15.5, 30, 60, 200):
        assert search_at(job, upstream, after).state == "unknown"
    assert provider().unrecognized_at is not None
    assert only(job).cost_state == "reserved"


def test_ids_of_long_ago_that_are_unknown_as_well_leave_it_to_a_person(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    (finished,) = accepted(upstream, make_job)
    stored(upstream, sora, finished)
    Submission.objects.update(ended_at=database_now() - timedelta(days=2), expires_at=None)
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    job = make_job()
    submit_next(upstream)
    had = another_account(sora)
    for after in (2.5, 5.5, 15.5, 700):
        assert search_at(job, upstream, after).state == "unknown"
    assert "shows none of the ids that we know" in caplog.text
    assert provider().unrecognized_at is None, "it may have forgotten what is finished"
    sora.videos = had
    assert search_at(job, upstream, 1_400).state == "absent"


def test_a_create_that_kills_an_upstream_with_jobs_in_memory_is_sent_once(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    innocent = accepted(upstream, make_job, "one", "two")
    killer = make_job("kills it")

    def forget(video: Video) -> Video:
        sora.videos.clear()
        raise errors.OutcomeUnknown("reset")

    sora.after = forget
    submit_next(upstream)
    for after in range(3, 300, 5):
        work(upstream, after=after)
        with shifted(timedelta(seconds=after)):
            submit_next(upstream)
    assert [each.prompt for each in sora.creates].count("kills it") == 1
    for each in innocent:
        each.refresh_from_db()
        assert each.state == "rendering", "it is lost only if a person says so"
    assert only(killer).state == "unknown"


def test_what_was_dropped_is_not_expected_on_the_list(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(replace(OPENAI, cancels=True))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    dropped_one, _kept = accepted(upstream, make_job, "one", "two")
    cancel(dropped_one.job)
    work(upstream, after=1)
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    job = make_job()
    submit_next(upstream)
    for after in (2.5, 5.5, 15.5):
        submission = search_at(job, upstream, after)
    assert submission.state == "absent"


# Tries without an answer.


def accepts_and_forgets(sora: ScriptedClient, *, answered: bool) -> None:
    def forget(video: Video) -> Video:
        del sora.videos[video.id]
        raise errors.OutcomeUnknown("no", answered=answered)

    sora.after = forget


@pytest.mark.parametrize("answered", [False, True])
def test_the_second_absence_of_a_job_is_left_to_a_person(
    job: Job, upstream: Upstream, sora: ScriptedClient, answered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    accepts_and_forgets(sora, answered=answered)
    for after in range(0, 1_000, 8):
        with shifted(timedelta(seconds=after)):
            submit_next(upstream)
        work(upstream, after=after + 4)
    assert len(sora.creates) == 2
    first, second = job.submissions.order_by("number")
    assert (first.state, second.state, second.cost_state) == ("absent", "unknown", "reserved")
    assert "both may have been paid" in caplog.text
    with shifted(timedelta(seconds=1_000)):
        assert decisions.declare_absent(second), "a person has it sent again"
        assert submit_next(upstream)


def test_a_silent_try_counts_in_the_limit_of_tries(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_MAX_RETRIES = 0
    accepts_and_forgets(sora, answered=False)
    submit_next(upstream)
    assert search_at(job, upstream, 16).state == "absent"
    assert (job.status, job.error_code) == ("failed", "SORA_SUBMISSION_FAILED")


def test_a_job_that_is_asked_for_again_may_be_absent_once_more(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_MAX_RETRIES = 0
    accepts_and_forgets(sora, answered=False)
    submit_next(upstream)
    search_at(job, upstream, 16)
    settings.SORA_MAX_RETRIES = 3
    with shifted(timedelta(seconds=20)):
        retry(job)
        assert submit_next(upstream)
        search_at(job, upstream, 16)
    assert [each.state for each in job.submissions.order_by("number")] == ["absent", "absent"]


def test_a_second_try_that_is_found_goes_on(job: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    accepts_and_forgets(sora, answered=False)
    submit_next(upstream)
    assert search_at(job, upstream, 16).state == "absent"
    sora.after = dropped
    with shifted(timedelta(seconds=20)):
        assert submit_next(upstream)
        assert search_at(job, upstream, 3).state == "rendering"


# A neighbour that begins when an attempt ends.


def test_a_video_of_the_second_after_an_attempts_end_may_be_its_neighbours(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    job = make_job()
    submit_next(upstream)
    ends = only(job).lease_until + timedelta(seconds=settings.SORA_CLOCK_SKEW)
    # Made a moment after the end, and dated by the whole second, before it.
    begins = ends + timedelta(milliseconds=1)
    other = make_job()
    sent = claim_next(upstream)
    assert sent is not None
    Submission.objects.filter(pk=sent.pk).update(
        created_at=begins, lease_until=begins + timedelta(seconds=70), due_at=begins + timedelta(seconds=70)
    )
    video = sora.add(CreateRequest(**sent.request), created_at=ends.replace(microsecond=0))
    with shifted(timedelta(seconds=16)):
        undecided = search_at(job, upstream, 0)
        assert undecided.state == "unknown"
        assert undecided.due_at is not None
        assert (undecided.due_at - database_now()).total_seconds() < 60, "it is looked for soon"
    with shifted(timedelta(seconds=90)), locked(sent) as (_, fresh):
        accept(other, fresh, video, upstream, how="answered")
    assert search_at(job, upstream, 95).state == "absent"


def test_a_finished_phase_is_no_other_video(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    (first,) = accepted(upstream, make_job)
    stored(upstream, sora, first)
    shown = replace(sora.videos[str(first.upstream_id)], created_at=None)
    assert first.owns(shown)
    assert not first.owns(replace(shown, phase=Phase.RUNNING)), "what has ended does not run again"
