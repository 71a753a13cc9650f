"""Videos that are made from another one: where they go, what they cost, and what their list proves."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.exceptions import ValidationError

from accounts.budgets.reservations import PriceUnknown
from accounts.models import User
from tests.accounts.test_budgets import limit
from tests.configured import configure
from tests.from_source.making import Make, complete, listed
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import submit_next
from tests.videos.test_reconcile import dropped, through_the_window
from tests.videos.test_submit import only, raising
from upstreams.client import errors
from upstreams.client.dialects import DIALECTS
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.offer.catalogue import SORA
from upstreams.offer.request import VideoRequest
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.create import create
from videos.lifecycle.from_source import OperationNotOffered, SourceGone, create_from
from videos.lifecycle.retry import retry
from videos.models import Exclusion, Job, Submission
from videos.queue.position.estimates import queue_positions
from videos.queue.position.reasons import Reason
from videos.reads.rows import rows_of
from videos.reconciliation.decisions import Refused, adopt
from videos.reconciliation.restored import books

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("operation", "seconds", "shown"), [("remix", "8", "8"), ("edit", "8", "8"), ("extend", "4", "12")]
)
def test_it_is_sent_to_the_upstream_as_made_from_that_video(
    make: Make,
    source: Job,
    upstream: Upstream,
    sora: ScriptedClient,
    operation: str,
    seconds: str,
    shown: str,
) -> None:
    made = make(operation)
    assert (made.operation, made.source_job, made.upstream) == (operation, source.pk, upstream.name)
    assert submit_next(upstream)
    sent = sora.creates[-1]
    assert (sent.operation, sent.source, sent.prompt) == (
        operation,
        only(source).upstream_id,
        "the same boat by night",
    )
    assert (sent.model, sent.seconds, sent.size) == ("sora-2", seconds, "720x1280")
    assert sora.videos[str(only(made).upstream_id)].seconds == shown


def test_an_extension_of_an_extension_counts_all_before_it(
    make: Make, upstream: Upstream, sora: ScriptedClient
) -> None:
    longer = complete(make("extend", duration=12), upstream)
    make("extend", of=longer, duration=4)
    assert submit_next(upstream)
    assert (sora.creates[-1].source_seconds, sora.creates[-1].seconds) == ("20", "4")


def test_a_length_that_is_not_offered_is_fitted_or_refused(make: Make) -> None:
    (adjustment,) = make("extend", duration=5).adjustments
    assert (adjustment["field"], adjustment["asked"], adjustment["used"]) == ("duration", 5, 4)
    with pytest.raises(ValidationError, match="allowed: 4, 8, 12"):
        make("extend", duration=5, strict=True)


def test_its_price_is_its_own(
    make: Make, source: Job, owner: User, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody has published one, so that of a new video does not count.
    assert make("remix").estimated_cost is None
    limit(owner, "10")
    with pytest.raises(PriceUnknown):
        make("remix")
    configure(monkeypatch, listed(upstream, "0.25"))
    extended = make("extend", duration=12)
    assert (extended.estimated_cost, make("remix").estimated_cost) == (Decimal("3"), Decimal("2"))
    assert extended.reservation is not None


def test_a_retry_is_priced_anew_and_made_from_the_same_video(
    make: Make, source: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("extend", duration=8)
    cancel(made)
    configure(monkeypatch, listed(upstream, "0.5"))
    assert retry(made).estimated_cost == Decimal("4")
    assert submit_next(upstream)
    sent = sora.creates[-1]
    assert (sent.operation, sent.source, sent.source_seconds) == ("extend", only(source).upstream_id, "8")


def test_no_other_upstream_is_sent_it(
    make: Make, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(scripted(), name="other", order=0)
    configure(monkeypatch, other, upstream)
    # Else it is sent nothing that this one may have rendered.
    assert books.may_create(upstream)
    assert books.may_create(other)
    made = make("remix")
    Provider.objects.filter(name=upstream.name).update(stopped_at=database_now(), stop_reason="stopped")
    assert not submit_next(other)
    exclusion = Exclusion.objects.get(job=made, provider__name="other")
    assert "'scripted'" in exclusion.reason
    Provider.objects.update(stopped_at=None, stop_reason="")
    assert submit_next(upstream)
    assert sora.creates[-1].operation == "remix"


def test_a_refusal_of_the_upstream_leads_to_no_other(
    make: Make, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(scripted(), name="other")
    configure(monkeypatch, upstream, other)
    assert books.may_create(upstream)
    assert books.may_create(other)
    made = make("remix")
    # It would lead to another one if that could take the job.
    sora.before = raising(errors.Rejected("gone", status=404, code="model_not_found"))
    assert submit_next(upstream)
    made.refresh_from_db()
    assert (made.status, made.error_code) == ("failed", "SORA_SUBMISSION_FAILED")
    assert only(made).cost_state == "released"


def test_while_its_upstream_is_not_configured_it_waits(
    make: Make, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("edit")
    other = replace(scripted(), name="other")
    configure(monkeypatch, other)
    assert not submit_next(other)
    waiting = queue_positions(rows_of([made.pk]))[made.pk].waiting
    assert waiting is not None
    assert waiting.reason == Reason.NO_UPSTREAM
    assert "'scripted'" in waiting.detail
    assert not getattr(other.client, "creates")  # noqa: B009


@pytest.mark.parametrize("name", ["vllm-omni", "sglang", "trtllm"])
def test_what_the_dialect_does_not_have_is_refused(
    make: Make, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    dialect = DIALECTS[name]
    models = {name: replace(each, operations=frozenset(dialect.routes)) for name, each in SORA.models.items()}
    configure(monkeypatch, replace(upstream, dialect=dialect, catalogue=replace(SORA, models=models)))
    with pytest.raises(OperationNotOffered, match="it makes no video from another one"):
        make("remix")


def test_azure_remixes_and_no_more(make: Make, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"sora-2": replace(SORA.models["sora-2"], operations=frozenset(DIALECTS["azure"].routes))}
    azure = replace(upstream, dialect=DIALECTS["azure"], catalogue=replace(SORA, models=models))
    configure(monkeypatch, azure)
    assert make("remix").operation == "remix"
    with pytest.raises(OperationNotOffered) as refused:
        make("extend")
    assert refused.value.extra == {"operation": "extend", "provider": "scripted", "offered": ["remix"]}


def test_a_video_that_the_upstream_has_no_more_is_refused(
    make: Make, source: Job, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = database_now() - timedelta(seconds=1)
    Submission.objects.filter(job=source).update(expires_at=past)
    with pytest.raises(SourceGone, match="had this video until"):
        make("remix")
    Submission.objects.filter(job=source).update(expires_at=None, id_reused=True)
    with pytest.raises(SourceGone, match="another one"):
        make("remix")
    Submission.objects.filter(job=source).update(id_reused=False)
    configure(monkeypatch, replace(upstream, name="new"))
    with pytest.raises(SourceGone, match="scripted"):
        make("remix")
    assert Job.objects.count() == 1


def test_a_lost_remix_is_found_on_the_list_by_its_source(
    make: Make, source: Job, make_job: Make, upstream: Upstream, sora: ScriptedClient
) -> None:
    made = make("remix")
    sora.after = dropped
    assert submit_next(upstream)
    assert only(made).state == "unknown"
    # A new video of the same fields is none of a remix, although it is later on the list.
    sora.after = None
    sora.add(replace(sora.creates[-1], operation=None, source=None))
    found = through_the_window(made, upstream)
    assert found.state == "rendering"
    assert sora.videos[str(found.upstream_id)].remixed_from == only(source).upstream_id
    made.refresh_from_db()
    assert made.status == "processing"


def test_a_remix_is_not_taken_for_a_new_video_of_the_same_fields(
    make: Make, source: Job, make_job: Make, upstream: Upstream, sora: ScriptedClient
) -> None:
    plain = make_job("the same boat by night", duration=8, aspect_ratio="9:16")

    def swallowed(video: Any) -> Any:
        sora.videos.pop(video.id)
        raise errors.OutcomeUnknown("reset after sending")

    sora.after = swallowed
    assert submit_next(upstream)
    sora.after = None
    # Somebody's remix, at the same time.
    sora.add(replace(sora.creates[-1], operation="remix", source=only(source).upstream_id))
    assert through_the_window(plain, upstream).state == "unknown"
    assert only(plain).upstream_id is None


@pytest.mark.parametrize("operation", ["edit", "extend"])
def test_a_lost_edit_is_left_to_a_person_and_never_sent_again(
    make: Make, upstream: Upstream, sora: ScriptedClient, operation: str
) -> None:
    made = make(operation)
    sora.after = dropped
    assert submit_next(upstream)
    sora.after = None
    (created,) = [video for video in sora.videos.values() if video.prompt == made.prompt]
    sora.hidden.add(created.id)
    left = through_the_window(made, upstream)
    # The list is whole and does not show it, which would prove a new video absent.
    assert left.state == "unknown"
    assert len(sora.creates) == 2
    sora.hidden.clear()
    assert adopt(only(made), created.id)
    made.refresh_from_db()
    assert made.status == "processing"


def test_what_it_shows_of_an_edit_says_nothing_of_its_list(
    make: Make, make_job: Make, upstream: Upstream, sora: ScriptedClient
) -> None:
    make("edit")
    sora.after = lambda video: replace(video, prompt="something else")
    assert submit_next(upstream)
    assert Provider.objects.get().proves_absence
    # Nor does a remix, of which no server was seen to show what the protocol says.
    make("remix")
    assert submit_next(upstream)
    assert Provider.objects.get().proves_absence
    make_job()
    assert submit_next(upstream)
    assert not Provider.objects.get().proves_absence


def test_an_edit_of_another_date_is_not_adopted_by_mistake(
    make: Make, upstream: Upstream, sora: ScriptedClient
) -> None:
    made = make("edit")
    sora.after = dropped
    assert submit_next(upstream)
    old = sora.add(sora.creates[-1], created_at=database_now() - timedelta(days=1))
    through_the_window(made, upstream)
    with pytest.raises(Refused, match="outside the attempt"):
        adopt(only(made), old.id)


def test_what_is_not_made_from_another_video_is_kept_as_before(make_job: Make) -> None:
    # Processes of the version before read these rows while a new one is installed, and refuse unknown fields.
    assert not {"operation", "source", "source_seconds"} & make_job().fitted.keys()


def test_two_remixes_of_different_videos_have_different_keys(
    make: Make, make_job: Make, source: Job, upstream: Upstream
) -> None:
    other = complete(make_job("a paper boat", duration=8, aspect_ratio="9:16"), upstream)
    keys = {make("remix").match_key, make("remix", of=other).match_key, create_key(make_job)}
    assert len(keys) == 3


def create_key(make_job: Make) -> str:
    return make_job("the same boat by night", duration=8, aspect_ratio="9:16").match_key


def test_the_job_it_is_made_from_needs_no_files_here(make: Make, source: Job) -> None:
    Job.objects.filter(pk=source.pk).update(removed_at=database_now())
    source.refresh_from_db()
    assert make("remix").status == "pending"


def test_it_is_refused_where_nothing_would_be_made(owner: User, make_job: Make) -> None:
    with pytest.raises(SourceGone):
        create_from(make_job(), "remix", VideoRequest(prompt="x"), owner=owner, api_key=None)
    assert create(VideoRequest(prompt="x"), owner=owner, api_key=None).operation == ""
