"""Lists that end without saying so, cannot be paged, never end, or are long: what each proves and costs."""

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
import responses
from pytest_django import Settings

from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_reconcile import WINDOW, dropped, through_the_window
from tests.videos.test_submit import only, raising
from upstreams.client import errors
from upstreams.client.client import SoraClient
from upstreams.client.dialects import OPENAI
from upstreams.client.types import CreateRequest, Phase, Video, VideoPage
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission
from videos.reconciliation import candidates, listing
from videos.reconciliation.audit import audit
from videos.reconciliation.listing import walk
from videos.reconciliation.undecided import undecided

pytestmark = pytest.mark.django_db

ROOT = "http://lists.test/v1/videos"


@pytest.fixture(autouse=True)
def _window(settings: Settings) -> None:
    settings.SORA_RECONCILE_SECONDS = WINDOW


def entry(video: Video) -> dict[str, Any]:
    made = int(video.created_at.timestamp()) if video.created_at else None
    fields = {name: getattr(video, name) for name in ("id", "model", "prompt", "size", "seconds", "status")}
    return fields | {"object": "video", "created_at": made, "progress": 0}


class Server:
    """The list of a scripted upstream over HTTP, without has_more: how many fit, and whether it pages."""

    def __init__(self, sora: ScriptedClient, *, cap: int = 100, pages: bool = True) -> None:
        self.sora, self.cap, self.pages = sora, cap, pages
        self.asked: list[str | None] = []

    def __call__(self, request: Any) -> tuple[int, dict[str, str], str]:
        after = request.params.get("after")
        self.asked.append(after)
        shown = sorted(
            (each for each in self.sora.videos.values() if each.id not in self.sora.hidden),
            key=lambda each: (each.created_at, each.id),
            reverse=True,
        )
        ids = [each.id for each in shown]
        start = ids.index(after) + 1 if after in ids and self.pages else 0
        page = shown[start : start + min(int(request.params["limit"]), self.cap)]
        headers = {"Date": format_datetime(database_now(), usegmt=True)}
        return 200, headers, json.dumps({"object": "list", "data": [entry(each) for each in page]})


@pytest.fixture
def over_http(upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has the upstream's list read by the real client, from a Server."""
    client = SoraClient("http://lists.test/v1", "k", dialect=OPENAI, timeout=2, retries=0, retry_delay=0.01)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:

        def start(**options: Any) -> Server:
            server = Server(sora, **options)
            mock.add_callback(responses.GET, ROOT, server)
            monkeypatch.setattr(sora, "list", client.list)
            return server

        yield start
    client.close()


def add(sora: ScriptedClient, number: int, **asked: Any) -> None:
    for each in range(number):
        sora.add(CreateRequest(f"another's {each}", "sora-2", "4", "1280x720"), **asked)


@pytest.mark.parametrize("newer", [19, 20, 99, 100, 250])
@pytest.mark.parametrize("cap", [100, 20])
def test_a_video_behind_newer_ones_is_found_on_a_list_without_has_more(
    job: Job, upstream: Upstream, sora: ScriptedClient, over_http: Any, newer: int, cap: int
) -> None:
    sora.after = dropped
    submit_next(upstream)
    (mine,) = sora.videos
    add(sora, newer, created_at=datetime.now(UTC) + timedelta(seconds=1))
    over_http(cap=cap)
    submission = through_the_window(job, upstream)
    assert (submission.state, submission.upstream_id) == ("rendering", mine)


def test_an_empty_page_proves_the_end_of_a_list_without_has_more(
    job: Job, upstream: Upstream, sora: ScriptedClient, over_http: Any
) -> None:
    sora.before = raising(errors.OutcomeUnknown("no answer"))
    submit_next(upstream)
    server = over_http()
    add(sora, 3, created_at=datetime.now(UTC) + timedelta(hours=1))
    assert through_the_window(job, upstream).state == "absent"
    assert len([after for after in server.asked if after]) == len(
        [None for after in server.asked if not after]
    )


@pytest.mark.parametrize("newer", [1, 20, 37, 100, 250])
def test_a_list_that_cannot_be_paged_proves_no_absence(
    job: Job, upstream: Upstream, sora: ScriptedClient, over_http: Any, newer: int
) -> None:
    sora.after = dropped
    submit_next(upstream)
    sora.hidden = set(sora.videos)
    add(sora, newer, created_at=datetime.now(UTC) + timedelta(hours=1))
    over_http(pages=False)
    assert through_the_window(job, upstream).state == "unknown"
    assert len(sora.creates) == newer + 1


def test_what_the_one_page_of_such_a_list_shows_is_adopted(
    job: Job, upstream: Upstream, sora: ScriptedClient, over_http: Any
) -> None:
    sora.after = dropped
    submit_next(upstream)
    over_http(pages=False)
    assert through_the_window(job, upstream).state == "rendering"


def test_a_server_that_ignores_the_cursor_while_its_list_grows_is_noticed(
    upstream: Upstream, sora: ScriptedClient, over_http: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    over_http(pages=False)
    add(sora, 150, created_at=datetime.now(UTC) - timedelta(hours=1))
    listed = sora.list

    def growing(**asked: Any) -> VideoPage:
        add(sora, 1, created_at=datetime.now(UTC))
        return listed(**asked)

    monkeypatch.setattr(sora, "list", growing)
    pages = list(walk(upstream))
    assert pages[-1].fault == "its pages overlap"
    assert not any(page.ended for page in pages)


def test_neither_the_audit_nor_the_list_of_undecided_takes_it_for_the_end(
    job: Job, upstream: Upstream, sora: ScriptedClient, over_http: Any
) -> None:
    sora.after = dropped
    submit_next(upstream)
    sora.hidden = set(sora.videos)
    over_http(pages=False)
    add(sora, 20, created_at=datetime.now(UTC) + timedelta(hours=1))
    assert "cannot be read beyond" in audit(upstream).fault
    with shifted(timedelta(seconds=WINDOW[-1] + 1)):
        (waiting,) = undecided()
    assert not waiting.searched


def test_a_sweep_of_a_list_that_cannot_be_paged_asks_one_by_one_and_is_no_failure(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, over_http: Any
) -> None:
    jobs = [make_job(), make_job()]
    for _ in jobs:
        submit_next(upstream)
    for video_id in sora.videos:
        sora.complete(video_id)
    over_http(cap=1, pages=False)
    with shifted(timedelta(seconds=5)):
        sweep(upstream)
    assert {only(job).state for job in jobs} == {"rendered"}


# A render that never ends ----------------------------------------------------------------------------------


def grow_old(job: Job, sora: ScriptedClient, age: timedelta) -> str:
    """Makes a rendering job and its video so old; the video's id."""
    submission = only(job)
    made = datetime.now(UTC) - age
    Submission.objects.filter(pk=submission.pk).update(
        created_at=database_now() - age, upstream_created_at=made
    )
    video_id = str(submission.upstream_id)
    sora.videos[video_id] = replace(sora.videos[video_id], created_at=made)
    return video_id


@pytest.mark.parametrize("pages_at_least", [True, False])
def test_one_render_that_never_ends_costs_few_list_calls_and_is_still_asked_after(
    make_job: Callable[..., Job],
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    pages_at_least: bool,
) -> None:
    stuck = make_job()
    submit_next(upstream)
    stuck_id = grow_old(stuck, sora, timedelta(hours=5))
    add(sora, 5000, created_at=datetime.now(UTC) - timedelta(hours=1))
    young = [make_job() for _ in range(3)] if pages_at_least else []
    for _ in young:
        submit_next(upstream)
    asked: list[str] = []
    retrieve = sora.retrieve
    monkeypatch.setattr(sora, "retrieve", lambda video_id, **_: asked.append(video_id) or retrieve(video_id))
    sweeps = 0
    for second in range(20, 80):
        with shifted(timedelta(seconds=second)):
            before = sora.lists
            sweep(upstream)
            sweeps += sora.lists > before
    assert sora.lists <= 2 * sweeps
    assert asked.count(stuck_id) >= 4
    sora.set(stuck_id, Phase.COMPLETED)
    with shifted(timedelta(seconds=200)):
        sweep(upstream)
    assert only(stuck).state == "rendered"


def test_many_old_renders_are_reached_over_several_sweeps_within_a_budget(
    make_job: Callable[..., Job], sora: ScriptedClient, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videos.lifecycle.following.walk._MAX_PAGES", 3)
    wide = replace(upstream, concurrency=100)
    old = [make_job() for _ in range(60)]
    for _ in old:
        submit_next(wide)
    for job in old:
        sora.complete(grow_old(job, sora, timedelta(hours=5)))
    add(sora, 900, created_at=datetime.now(UTC) - timedelta(hours=1))
    for number in range(1, 6):
        before = sora.lists
        with shifted(timedelta(seconds=10 * number)):
            sweep(wide)
        assert sora.lists - before <= 3
    assert {only(job).state for job in old} == {"rendered"}
    # Twenty a sweep would have taken three; that all are reached says nothing of the cursor.
    assert Provider.objects.get().sweep_after == ""


def test_a_sweep_goes_on_behind_the_last_page_and_begins_anew_at_the_end(
    make_job: Callable[..., Job], sora: ScriptedClient, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videos.lifecycle.following.sweep._MAX_STRAGGLERS", 0)
    wide = replace(upstream, concurrency=100)
    old = make_job()
    submit_next(wide)
    sora.complete(grow_old(old, sora, timedelta(hours=5)))
    add(sora, 850, created_at=datetime.now(UTC) - timedelta(hours=1))
    cursors = []
    for number in range(1, 5):
        with shifted(timedelta(seconds=10 * number)):
            sweep(wide)
        cursors.append(Provider.objects.get().sweep_after)
    assert cursors[0] != cursors[1] != ""
    assert only(old).state == "rendered", "reached by pages alone"
    assert cursors[-1] == ""


def test_a_cursor_that_the_upstream_refuses_is_forgotten(
    job: Job, sora: ScriptedClient, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    Provider.objects.update(sweep_after="gone")
    listed = sora.list

    def refusing(after: str | None = None, **asked: Any) -> VideoPage:
        if after == "gone":
            raise errors.Rejected("no such video")
        return listed(after=after, **asked)

    monkeypatch.setattr(sora, "list", refusing)
    sora.retrieve_error = errors.Unavailable("503")
    for later in (5, 60):
        with shifted(timedelta(seconds=later)):
            sweep(upstream)
    assert only(job).state == "rendered"


def test_the_pace_grows_with_the_pages_that_a_sweep_reads(
    make_job: Callable[..., Job], sora: ScriptedClient, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.videos.scripted.PAGE", 5)
    wide = replace(upstream, concurrency=100)
    for _ in range(40):
        make_job()
        submit_next(wide)
    with shifted(timedelta(seconds=5)):
        sweep(wide)
        until = Provider.objects.get().sweep_due_at
        assert until is not None
        assert (until - database_now()).total_seconds() > 0.5
        pages = sora.lists
        sweep(wide)
        assert sora.lists == pages


# A list that never ends ------------------------------------------------------------------------------------


def endless(size: int, made: datetime | None) -> Callable[..., VideoPage]:
    """A list of strangers without an end, each with a prompt of so many characters."""
    asked = 0

    def page(after: str | None = None, limit: int = 100, order: str = "desc") -> VideoPage:
        nonlocal asked
        asked += 1
        fields = {"status": "queued", "phase": Phase.RUNNING, "created_at": made, "model": "sora-2"}
        videos = tuple(
            Video(id=f"v{asked}-{n}", prompt=f"{asked}-{n}" + "x" * size, size="1x1", seconds="4", **fields)
            for n in range(100)
        )
        return VideoPage(videos, videos[-1].id)

    return page


@pytest.mark.parametrize("dated", [True, False])
def test_an_endless_list_proves_nothing_and_fills_no_memory(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch, dated: bool
) -> None:
    sora.after = dropped
    submit_next(upstream)
    made = datetime.now(UTC) if dated else None
    monkeypatch.setattr(sora, "list", endless(10_000, made))
    tracemalloc.start()
    try:
        submission = through_the_window(job, upstream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert submission.state == "unknown"
    # A hundred prompts of a page are a megabyte; a thousand kept candidates without theirs are less.
    assert peak < 12_000_000


def test_a_walk_ends_with_its_time(
    upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def monotonic() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr(listing, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(sora, "list", endless(1, datetime.now(UTC)))
    pages = list(walk(upstream))
    assert len(pages) == upstream.lease + 1
    assert "to read" in pages[-1].fault
    assert not pages[-1].ended


def test_too_many_candidates_of_ours_do_not_count(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "MAX_CANDIDATES", 20)
    sora.after = dropped
    submit_next(upstream)
    (mine,) = sora.videos
    kept = candidates.Candidates(only(job), OPENAI)
    monkeypatch.setattr(
        candidates, "unowned", lambda _, videos: tuple(v for v in videos.values() if v.id == mine)
    )
    add(sora, 200)
    kept.add(sora.videos.values())
    assert not kept.overflowed
    assert [video.id for video in kept.unowned()] == [mine]


def test_a_match_that_was_seen_before_the_list_broke_off_is_adopted(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sora.after = dropped
    submit_next(upstream)
    whole = sora.list

    def breaking_off(after: str | None = None, **asked: Any) -> VideoPage:
        if after is not None:
            raise errors.Unavailable("503")
        return replace(whole(**asked), next_after="more")

    monkeypatch.setattr(sora, "list", breaking_off)
    assert through_the_window(job, upstream).state == "rendering"


@pytest.mark.parametrize("apart", [1, 3600])
def test_an_old_first_page_does_not_show_that_the_list_is_newest_first(
    apart: int, job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a list that is oldest first, and allows few to a page."""
    old = database_now() - timedelta(days=2)
    for number in range(3):
        sora.add(
            CreateRequest(f"old {number}", "sora-2", "4", "1280x720"),
            created_at=old + timedelta(seconds=number * apart),
        )
    paid_before = len(sora.creates)
    sora.after = dropped
    submit_next(upstream)

    def oldest_first(after: str | None = None, **_: Any) -> VideoPage:
        shown = list(sora.videos.values())
        start = next((n + 1 for n, video in enumerate(shown) if video.id == after), 0)
        return VideoPage((shown[start],), shown[start].id, dated_at=database_now().replace(microsecond=0))

    monkeypatch.setattr(sora, "list", oldest_first)
    Provider.objects.update(dates_agree=True)
    assert through_the_window(job, upstream).state != "absent"
    assert len(sora.creates) == paid_before + 1
