"""Many renders that are swept at once come to what each comes to by itself."""

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Reservation
from tests.configured import configure
from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient
from upstreams.client import errors
from upstreams.client.types import Phase, VideoPage
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.expiry import note_silence
from videos.lifecycle.following import completed, listed
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.following.walk import Walk
from videos.lifecycle.sending.submit import submit
from videos.models import Job, JobEvent, Submission

pytestmark = pytest.mark.django_db

MakeJob = Callable[..., Job]

# Of a row of its own, or the time.
_OWN = {"id", "job", "reservation", "match_key", "request", "upstream_id", "upstream_created_at"}


@pytest.fixture
def wide(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """It may render five hundred at a time."""
    found = replace(upstream, concurrency=500)
    configure(monkeypatch, found)
    return found


def rendering(make_job: MakeJob, upstream: Upstream, count: int) -> list[Job]:
    jobs = [make_job() for _ in range(count)]
    while submit(upstream):
        pass
    assert Submission.objects.filter(job__in=jobs, state="rendering").count() == count
    return jobs


def upstream_id(job: Job) -> str:
    return str(job.submissions.get().upstream_id)


def story(job: Job) -> Any:
    """What is kept of a job, without what is its own; of times only whether they are known."""
    submission = job.submissions.get()
    row = {
        field.name: value is not None if field.get_internal_type() == "DateTimeField" else value
        for field in Submission._meta.concrete_fields
        if field.name not in _OWN
        for value in [field.value_from_object(submission)]
    }
    reservation = Reservation.objects.get(pk=submission.reservation_id)
    lines = JobEvent.objects.filter(job=job).order_by("number")
    job.refresh_from_db()
    return (
        row,
        (reservation.state, reservation.settled, reservation.counting),
        [(line.number, line.subject, line.from_state, line.to_state) for line in lines],
        (job.status, job.progress),
    )


def swept(wide: Upstream, later: float = 5) -> None:
    with shifted(timedelta(seconds=later)):
        sweep(wide)


def test_completions_come_to_what_one_comes_to_by_itself(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, *many = rendering(make_job, wide, 6)
    for job in many:
        sora.complete(upstream_id(job))
    swept(wide)
    sora.complete(upstream_id(alone))
    monkeypatch.setattr(listed, "complete_together", lambda *_: set())
    Provider.objects.update(sweep_due_at=None)
    swept(wide)
    expected = story(alone)
    assert expected[0]["state"] == "rendered"
    assert [story(job) for job in many] == [expected] * 5


def test_more_completions_are_no_more_statements(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    counts = []
    for count in (3, 30):
        jobs = rendering(make_job, wide, count)
        for job in jobs:
            sora.complete(upstream_id(job))
        Provider.objects.update(sweep_due_at=None)
        with CaptureQueriesContext(connection) as queries:
            swept(wide)
        counts.append(len(queries))
        assert not Submission.objects.filter(job__in=jobs).exclude(state="rendered").exists()
    assert counts[0] == counts[1]


def test_one_whose_job_was_cancelled_among_them_is_dropped(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    jobs = rendering(make_job, wide, 4)
    cancel(jobs[1])
    for job in jobs:
        sora.complete(upstream_id(job))
    swept(wide)
    assert [job.submissions.get().state for job in jobs] == ["rendered", "dropped", "rendered", "rendered"]


def test_one_that_is_cancelled_between_the_reading_and_the_lock_is_dropped(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = rendering(make_job, wide, 3)
    for job in jobs:
        sora.complete(upstream_id(job))
    together = completed.complete_together

    def late(*given: Any) -> set[int]:
        cancel(jobs[0])
        return together(*given)

    monkeypatch.setattr(listed, "complete_together", late)
    swept(wide)
    assert [job.submissions.get().state for job in jobs] == ["dropped", "rendered", "rendered"]
    assert set(Reservation.objects.values_list("state", flat=True)) == {"settled"}


def test_every_render_is_seen_in_one_sweep(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.videos.scripted.PAGE", 2)
    rendering(make_job, wide, 250)
    for video_id in sora.videos:
        sora.set(video_id, Phase.RUNNING, progress=40)
    swept(wide)
    assert sora.lists == 125
    assert Job.objects.filter(progress=40).count() == 250
    assert sora.retrieves == 0


def test_renders_of_others_are_not_read_in_vain(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    rendering(make_job, wide, 150)
    swept(wide)
    assert sora.lists == 2, "as many pages as it has renders, and no more"


def test_all_are_silent_while_the_list_fails_and_no_longer(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering(make_job, wide, 30)
    whole = sora.list

    def failing(*_: Any, **__: Any) -> Any:
        raise errors.Unavailable("no answer")

    monkeypatch.setattr(sora, "list", failing)
    monkeypatch.setattr(sora, "retrieve", failing)
    with CaptureQueriesContext(connection) as queries:
        swept(wide)
    assert Submission.objects.filter(silent_since__isnull=False).count() == 30
    assert len(queries) < 20
    monkeypatch.setattr(sora, "list", whole)
    Provider.objects.update(sweep_due_at=None, list_backoff_until=None)
    swept(wide, 100)
    assert not Submission.objects.filter(silent_since__isnull=False).exists()


def test_after_a_failure_a_sweep_goes_on_where_the_list_failed(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upstream that allows few list calls at a time would show the newest ones only."""
    monkeypatch.setattr("tests.videos.scripted.PAGE", 10)
    monkeypatch.setattr("videos.lifecycle.following.sweep._MAX_STRAGGLERS", 0)
    rendering(make_job, wide, 60)
    for video_id in sora.videos:
        sora.set(video_id, Phase.RUNNING, progress=40)
    whole = sora.list
    left = [2]

    def limited(*given: Any, **more: Any) -> VideoPage:
        if not left[0]:
            raise errors.Busy("too many", retry_after=1)
        left[0] -= 1
        return whole(*given, **more)

    monkeypatch.setattr(sora, "list", limited)
    for later, seen in ((5, 20), (10, 40), (15, 60)):
        left[0] = 2
        Provider.objects.update(sweep_due_at=None, list_backoff_until=None)
        swept(wide, later)
        assert Job.objects.filter(progress=40).count() == seen


def test_a_second_video_of_its_id_does_not_hide_a_render(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = rendering(make_job, wide, 1)
    sora.complete(upstream_id(job))
    mine = sora.videos[upstream_id(job)]
    assert mine.created_at is not None
    other = replace(mine, phase=Phase.RUNNING, created_at=mine.created_at + timedelta(hours=1))
    before = replace(mine, phase=Phase.RUNNING, created_at=mine.created_at - timedelta(hours=1))
    monkeypatch.setattr(sora, "list", lambda **_: VideoPage(videos=(other, mine, before), next_after=None))
    swept(wide)
    assert job.submissions.get().state == "rendered"
    assert sora.retrieves == 0


def test_what_was_seen_before_the_clock_was_set_back_is_still_asked_after(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    (job,) = rendering(make_job, wide, 1)
    sora.complete(upstream_id(job))
    sora.hidden.add(upstream_id(job))
    Submission.objects.update(seen_at=database_now() + timedelta(hours=1), due_at=database_now())
    swept(wide)
    assert sora.retrieves == 1


def test_pages_that_are_longer_than_asked_for_are_recorded_sooner(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = rendering(make_job, wide, 1)
    page = VideoPage(videos=(sora.videos[upstream_id(job)],) * 250, next_after="next")
    monkeypatch.setattr(sora, "list", lambda **_: page)
    walk = Walk(wide, None, database_now() - timedelta(hours=1), math.inf)
    assert [len(walk.read(most)) for most in (1, 4, 5)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("passed", "moved"),
    [(30, 0), (15 * 60 + 40, 40), (-60, -60)],
    ids=["a try soon after", "a downtime of ours", "a clock that was set back"],
)
def test_a_silence_counts_only_while_it_is_watched(
    make_job: MakeJob, wide: Upstream, passed: float, moved: float
) -> None:
    rendering(make_job, wide, 2)
    began = database_now()
    note_silence(Submission.objects.all(), began)
    note_silence(Submission.objects.all(), began + timedelta(seconds=passed))
    for submission in Submission.objects.all():
        assert submission.silent_since == began + timedelta(seconds=moved)
        assert submission.silent_at == began + timedelta(seconds=passed)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_job_that_another_one_holds_keeps_no_sweep_waiting(
    make_job: MakeJob, wide: Upstream, sora: ScriptedClient
) -> None:
    held, free = rendering(make_job, wide, 2)
    for job in (held, free):
        sora.set(upstream_id(job), Phase.RUNNING, progress=40)
    ended = threading.Event()

    def sweeping() -> None:
        try:
            swept(wide)
            ended.set()
        finally:
            connection.close()

    with transaction.atomic():
        Job.lock(pk=held.pk)
        Submission.objects.select_for_update().get(job=held)
        thread = threading.Thread(target=sweeping)
        thread.start()
        assert ended.wait(TIMEOUT)
    thread.join()
    progress = dict(Job.objects.values_list("pk", "progress"))
    assert progress == {held.pk: 0, free.pk: 40}
