import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.configured import configure
from tests.log_lines import Lines
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import submit_next
from tests.videos.test_reconcile import dropped
from tests.videos.test_submit import only, raising
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.client.types import CreateRequest, Phase, Video, VideoPage
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos import tasks
from videos.models import Job, Submission
from videos.queue.dispatch import all_due_work
from videos.reconciliation import audit as auditing
from videos.reconciliation.audit import Audit, audit, audit_if_due

pytestmark = pytest.mark.django_db

# The upstream's lease, the reconciling window and the clocks' difference.
MARGIN = 70 + 15 + 10
LONG_AFTER = timedelta(hours=2)


@pytest.fixture(autouse=True)
def _window(settings: Settings, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]
    settings.SORA_CLOCK_SKEW = 10
    settings.AUDIT_SECONDS = 3600
    configure(monkeypatch, upstream)


def stranger(sora: ScriptedClient, age: float, prompt: str = "a stranger") -> Video:
    """A video that nobody here asked for."""
    made = datetime.now(UTC) - timedelta(seconds=age)
    return sora.add(CreateRequest(prompt, "sora-2", "8", "1280x720"), created_at=made)


def later(upstream: Upstream, after: timedelta = LONG_AFTER) -> Audit:
    with shifted(after):
        return audit(upstream)


def ids(found: Audit) -> tuple[list[str], list[str | None]]:
    return [video.id for video in found.orphans], [each.upstream_id for each in found.missing]


@pytest.fixture
def rendering(job: Job, upstream: Upstream) -> Submission:
    submit_next(upstream)
    return only(job)


def test_a_video_that_nobody_owns_is_an_orphan_with_its_price(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    orphan = stranger(sora, age=MARGIN + 5)
    found = audit(upstream)
    assert ids(found) == ([orphan.id], [])
    assert auditing.price(orphan, upstream.catalogue) == Decimal("0.80")
    assert f"orphan {orphan.id}" in next(found.findings())
    assert "0.8000 USD" in next(found.findings())


@pytest.mark.parametrize("changes", [{"model": "unlisted"}, {"size": None}, {"seconds": None}])
def test_a_price_that_is_not_known_is_said_to_be_unknown(
    upstream: Upstream, sora: ScriptedClient, changes: dict[str, Any]
) -> None:
    orphan = stranger(sora, age=MARGIN + 5)
    sora.videos[orphan.id] = replace(orphan, **changes)
    assert next(audit(upstream).findings()).endswith("price unknown.")


def test_a_video_younger_than_what_can_be_undecided_is_no_orphan(
    upstream: Upstream, sora: ScriptedClient
) -> None:
    young = stranger(sora, age=MARGIN - 5)
    assert ids(audit(upstream)) == ([], [])
    assert ids(later(upstream, timedelta(seconds=10))) == ([young.id], [])


def test_what_a_submission_owns_is_no_orphan_whatever_became_of_it(
    rendering: Submission, upstream: Upstream
) -> None:
    for state in ("stored", "lost", "dropped", "given_up"):
        Submission.objects.update(state=state, cost_state="settled")
        assert ids(later(upstream)) == ([], [])


def test_another_provider_owns_nothing_of_this_one(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    Submission.objects.update(provider=Provider.objects.create(name="another"))
    assert ids(later(upstream)) == (list(sora.videos), [])


def test_what_was_sent_to_another_provider_is_not_missed_and_excuses_no_orphan(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    its_time = stranger(sora, age=0)
    del sora.videos[rendering.upstream_id or ""]
    Submission.objects.update(provider=Provider.objects.create(name="another"))
    assert ids(later(upstream)) == ([its_time.id], [])
    Submission.objects.update(state="unknown", upstream_id=None)
    assert ids(later(upstream)) == ([its_time.id], [])


def test_a_video_of_an_undecided_attempts_time_is_no_orphan(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    its_time = stranger(sora, age=0)
    before = stranger(sora, age=60)
    assert ids(later(upstream)) == ([before.id], [])
    Submission.objects.update(state="given_up", cost_state="settled")
    assert ids(later(upstream)) == ([its_time.id, before.id], [])


def test_what_an_undecided_create_may_have_become_after_its_lease_is_no_orphan(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    sora.add(CreateRequest(**job.fitted), created_at=datetime.now(UTC) + timedelta(minutes=30))
    other = stranger(sora, age=-1800)
    assert ids(later(upstream)) == ([other.id], [])


def test_what_is_adopted_while_an_audit_compares_is_no_orphan(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sora.after = dropped
    submit_next(upstream)
    (video_id,) = sora.videos
    compare = auditing.unowned

    def adopted_meanwhile(*given: Any) -> tuple[Video, ...]:
        found = compare(*given)
        Submission.objects.update(state="rendering", upstream_id=video_id, accepted_at=database_now())
        return found

    monkeypatch.setattr(auditing, "unowned", adopted_meanwhile)
    assert ids(later(upstream)) == ([], [])


def test_an_unowned_video_without_a_date_is_counted_and_not_judged(
    upstream: Upstream, sora: ScriptedClient
) -> None:
    undated = stranger(sora, age=0)
    sora.videos[undated.id] = replace(undated, created_at=None)
    found = later(upstream)
    assert (ids(found), found.undated) == (([], []), 1)
    assert "unowned without a date 1" in found.summary()


def test_an_accepted_submission_that_is_not_listed_is_missing(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    stranger(sora, age=3600)
    del sora.videos[rendering.upstream_id or ""]
    found = later(upstream)
    assert ids(found)[1] == [rendering.upstream_id]
    assert str(rendering) in list(found.findings())[-1]


def test_one_accepted_a_moment_ago_is_not_missed_yet(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    del sora.videos[rendering.upstream_id or ""]
    assert ids(later(upstream, timedelta(seconds=MARGIN - 5))) == ([], [])
    assert ids(later(upstream, timedelta(seconds=MARGIN + 5)))[1] == [rendering.upstream_id]


@pytest.mark.parametrize("state", ["dropping", "dropped", "lost"])
def test_what_was_dropped_or_found_lost_is_not_missed(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, state: str
) -> None:
    stranger(sora, age=3600)
    sora.videos.pop(rendering.upstream_id or "")
    Submission.objects.update(state=state, cost_state="settled")
    assert ids(later(upstream))[1] == []


def test_what_has_expired_upstream_is_not_missed(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    stranger(sora, age=3600)
    sora.videos.pop(rendering.upstream_id or "")
    in_an_hour = rendering.created_at + timedelta(hours=1)
    Submission.objects.update(state="stored", cost_state="settled", expires_at=in_an_hour)
    assert ids(later(upstream, timedelta(minutes=30)))[1] == [rendering.upstream_id]
    assert ids(later(upstream))[1] == []


def test_what_is_finished_and_older_than_the_list_may_have_been_forgotten(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.videos.clear()
    stranger(sora, age=-60)
    assert ids(later(upstream))[1] == [rendering.upstream_id], "what still renders must be there"
    Submission.objects.update(state="stored", cost_state="settled")
    assert ids(later(upstream))[1] == []


def test_only_so_many_pages_are_read_and_only_their_span_is_judged(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.AUDIT_PAGES = 2
    oldest = stranger(sora, age=3600)
    for number in range(250):
        stranger(sora, age=-600 - number)
    found = later(upstream)
    assert (sora.lists, found.seen) == (2, 200)
    assert oldest.id not in ids(found)[0]
    assert ids(found)[1] == [], "it is beyond what was read"
    settings.AUDIT_PAGES = 3
    found = later(upstream)
    assert oldest.id in ids(found)[0]
    assert found.since is None


def test_one_adopted_long_after_its_create_is_not_missed_where_only_its_adoption_was_read(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.AUDIT_PAGES = 1
    Submission.objects.update(accepted_at=rendering.created_at + timedelta(minutes=30))
    for number in range(150):
        stranger(sora, age=-600 - number)
    assert ids(later(upstream))[1] == []


def test_one_that_a_slow_clock_may_have_dated_before_what_was_read_is_not_missed(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.AUDIT_PAGES = 1
    del sora.videos[rendering.upstream_id or ""]
    for number in range(150):
        stranger(sora, age=-600 - number)
    since = later(upstream).since
    assert since is not None
    for begun, missed in ((settings.SORA_CLOCK_SKEW, []), (MARGIN, [rendering.upstream_id])):
        Submission.objects.update(created_at=since + timedelta(seconds=begun))
        assert ids(later(upstream))[1] == missed


def out_of_order(page: VideoPage) -> VideoPage:
    return replace(page, videos=page.videos[::-1])


def in_a_circle(page: VideoPage) -> VideoPage:
    return replace(page, next_after="again")


def partly_unreadable(page: VideoPage) -> VideoPage:
    return replace(page, unreadable=1)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (out_of_order, "it is not newest first"),
        (in_a_circle, "it runs in a circle"),
        (partly_unreadable, "1 of its entries cannot be read"),
    ],
)
def test_a_damaged_list_proves_nothing(
    rendering: Submission,
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[VideoPage], VideoPage],
    said: str,
) -> None:
    stranger(sora, age=3600)
    stranger(sora, age=7200)
    sora.videos.pop(rendering.upstream_id or "")
    whole = sora.list
    monkeypatch.setattr(sora, "list", lambda **asked: damage(whole(**asked)))
    found = later(upstream)
    assert (found.fault, ids(found)) == (said, ([], []))
    with pytest.raises(CommandError, match=f"proves nothing: {said}") as raised:
        call_command("audit")
    assert raised.value.returncode == 2


def test_a_list_that_cannot_be_read_or_has_no_dates_or_is_not_there_proves_nothing(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.list_error = errors.Unavailable("502")
    assert later(upstream).fault == "it could not be read: 502"
    sora.list_error = None
    settings.AUDIT_PAGES = 1
    for _ in range(150):
        undated = stranger(sora, age=0)
        sora.videos[undated.id] = replace(undated, created_at=None)
    sora.videos.pop(rendering.upstream_id or "")
    assert later(upstream).fault == "no video on it has a date"
    listless = scripted(replace(OPENAI, lists=False))
    assert later(listless).fault == "the dialect openai has no list"
    client: Any = listless.client
    assert client.lists == 0


def test_each_finding_is_a_line(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, lines: Lines
) -> None:
    orphans = [stranger(sora, age=3600) for _ in range(3)]
    with shifted(timedelta(hours=1, seconds=1)):
        audit_if_due(upstream)
    said = [line["event"] for line in lines() if line["level"] == "error"]
    assert all(any(orphan.id in line for line in said) for orphan in orphans)


def test_doubled_messages_audit_once_an_hour(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    orphan = stranger(sora, age=3600)
    tasks.audit(from_a_newer_release=True)
    assert sora.lists == 0, "a provider's first audit comes an hour after its first use"
    with shifted(timedelta(hours=1, seconds=1)):
        assert "audit" in [work.task for work in all_due_work()]
        tasks.audit()
        tasks.audit()
        assert "audit" not in [work.task for work in all_due_work()]
    assert sora.lists == 1
    said = [record for record in caplog.records if record.name == auditing.__name__]
    assert [record.levelname for record in said] == ["ERROR", "INFO"]
    assert orphan.id in said[0].message
    with shifted(timedelta(hours=2, seconds=2)):
        audit_if_due(upstream)
    assert sora.lists == 2


def test_an_audit_that_proves_nothing_says_so_and_is_due_again_in_an_hour(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    sora.list_error = errors.Unavailable("502")
    with shifted(LONG_AFTER):
        audit_if_due(upstream)
        audit_if_due(upstream)
    assert (sora.lists, caplog.text.count("proves nothing")) == (1, 1)


def test_without_audit_seconds_there_is_no_audit(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.AUDIT_SECONDS = 0
    with shifted(LONG_AFTER):
        assert "audit" not in [work.task for work in all_due_work()]
        audit_if_due(upstream)
    assert sora.lists == 0


def test_the_command_prints_and_exits_by_what_it_found(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("audit")
    assert capsys.readouterr().out == (
        "The audit of scripted read its list to its end: videos 1, orphans 0, missing 0.\n"
    )
    orphan = stranger(sora, age=3600)
    with pytest.raises(SystemExit) as raised:
        call_command("audit")
    assert raised.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"orphan {orphan.id} of ")
    assert lines[1].endswith("videos 2, orphans 1, missing 0.")
    sora.set(orphan.id, Phase.FAILED)
    assert Submission.objects.get().state == "rendering", "an audit changes nothing"
