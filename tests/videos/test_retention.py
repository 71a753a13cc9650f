"""What ended before JOB_RETENTION_DAYS is in the archive before it is removed, and nothing else goes."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import DatabaseError
from django.test import Client
from pytest_django import Settings

from accounts.budgets.counting import count_some as count_money
from accounts.models import Reservation, Spending, User
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_audit import stranger
from upstreams.clock import shifted
from upstreams.registry import Upstream
from videos import tasks
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import retry
from videos.models import Job, JobEvent, Submission
from videos.reconciliation.audit import audit
from videos.results.media import MARKER
from videos.results.store import store
from videos.retention import archive
from videos.usage.count import count_some
from videos.usage.report import GROUPS, usage

pytestmark = pytest.mark.django_db

LATER = timedelta(days=31)
Finish = Callable[..., Job]
Run = Callable[..., None]


@pytest.fixture(autouse=True)
def _thirty_days(settings: Settings) -> None:
    settings.JOB_RETENTION_DAYS = 30


@pytest.fixture
def finish(make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient) -> Finish:
    """A job that is completed, its file kept, counted."""

    def complete(**asked: Any) -> Job:
        job = make_job(**asked)
        submit_next(upstream)
        sora.complete(str(job.submissions.get().upstream_id))
        sweep(upstream)
        store(job.submissions.get(), upstream)
        job.refresh_from_db()
        assert job.status == "completed"
        count_some()
        return job

    return complete


@pytest.fixture
def old(finish: Finish) -> Job:
    """A completed job whose upstream has rendered another two days later."""
    first = finish(prompt='old\nand "quoted" 🎈', metadata={"n": 2**70})
    with shifted(timedelta(days=2)):
        finish(prompt="the last one")
    return first


@pytest.fixture
def run(django_capture_on_commit_callbacks: Any) -> Run:
    """Carries the task out, at a later time."""

    def at(after: timedelta = LATER) -> None:
        with shifted(after), django_capture_on_commit_callbacks(execute=True):
            tasks.archive()

    return at


def lines(settings: Settings, kind: str = "jobs") -> list[dict[str, Any]]:
    """All lines of the archive."""
    files = sorted(Path(settings.MEDIA_ROOT).glob(f"archive/*/{kind}-*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def media(settings: Settings) -> set[str]:
    root = Path(settings.MEDIA_ROOT)
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return {name for name in found if name != MARKER and not name.startswith("archive/")}


def test_an_old_job_is_archived_with_all_that_is_known_of_it_and_removed_with_its_files(
    old: Job, api: Client, owner: User, settings: Settings, run: Run
) -> None:
    events = list(JobEvent.objects.filter(job=old).order_by("number"))
    today = datetime.now(UTC).date()
    before = usage(owner, today, today, GROUPS)
    assert {str(old.video), str(old.thumbnail)} < media(settings)
    run()
    (line,) = lines(settings)
    assert (line["id"], line["prompt"], line["status"]) == (str(old.pk), old.prompt, "completed")
    assert line["metadata"] == {"n": 2**70}
    assert (line["video"], line["created_at"]) == (str(old.video), old.created_at.isoformat())
    (attempt,) = line["submissions"]
    assert (attempt["state"], attempt["price"], attempt["provider"]) == ("stored", "0.4000", "scripted")
    assert [each["to_state"] for each in line["events"]] == [each.to_state for each in events]
    assert not Job.objects.filter(pk=old.pk).exists()
    assert not JobEvent.objects.filter(job=old.pk).exists()
    assert media(settings).isdisjoint({str(old.video), str(old.thumbnail)})
    assert api.get(f"/api/v1/videos/{old.pk}").status_code == 404
    assert usage(owner, today, today, GROUPS) == before
    (path,) = Path(settings.MEDIA_ROOT).glob("archive/*/*")
    assert path.stat().st_mode & 0o077 == 0, "prompts are for the operator alone"
    run()
    assert len(lines(settings)) == 1


def test_nothing_goes_unless_it_is_asked_for_or_before_its_time(
    old: Job, settings: Settings, run: Run
) -> None:
    run(timedelta(days=29))
    settings.JOB_RETENTION_DAYS = 0
    run(timedelta(days=1_000))
    assert Job.objects.filter(pk=old.pk).exists()
    assert lines(settings) == []


def test_what_is_open_or_has_moved_since_stays(
    old: Job, make_job: Callable[..., Job], settings: Settings, run: Run
) -> None:
    waiting, failed, again = make_job(), make_job(), make_job()
    for each in (failed, again):
        cancel(each)
    with shifted(timedelta(days=20)):
        retry(again)
        cancel(Job.objects.get(pk=again.pk))
    count_some()
    run()
    assert {each["id"] for each in lines(settings)} == {str(old.pk), str(failed.pk)}
    assert Job.objects.filter(pk__in=[waiting.pk, again.pk]).count() == 2


@pytest.mark.parametrize("what", ["not counted", "due", "on hold", "kept longer"])
def test_what_somebody_still_needs_stays(old: Job, what: str, settings: Settings, run: Run) -> None:
    if what == "due":
        Submission.objects.filter(job=old).update(due_at=datetime.now(UTC) + timedelta(days=60))
    elif what == "kept longer":
        Job.objects.filter(pk=old.pk).update(remove_at=datetime.now(UTC) + timedelta(days=300))
    elif what == "on hold":
        # As an operator does it long before; the change itself is no reason to keep it.
        Job.objects.filter(pk=old.pk).update(on_hold=True)
    else:
        Job.objects.filter(pk=old.pk).update(counted=False)
    run()
    assert Job.objects.filter(pk=old.pk).exists()
    assert lines(settings) == []


def test_the_last_attempts_of_an_upstream_stay_so_that_its_list_can_be_compared(
    finish: Finish,
    make_job: Callable[..., Job],
    settings: Settings,
    sora: ScriptedClient,
    upstream: Upstream,
    run: Run,
) -> None:
    last = finish()
    with shifted(timedelta(hours=30)):
        # Its list shows this one no more.
        dropped = finish()
        Submission.objects.filter(job=dropped).update(state="lost")
    run()
    assert Job.objects.filter(pk__in=[last.pk, dropped.pk]).count() == 2


def test_a_file_that_cannot_be_written_removes_nothing(
    old: Job, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    kept = media(settings)
    marker = Path(settings.MEDIA_ROOT) / MARKER
    marker.rename(marker.with_suffix(".away"))
    run()
    assert "Nothing is archived: the media folder" in caplog.text
    marker.with_suffix(".away").rename(marker)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as failing:
        failing.setattr("videos.retention.files.os.fsync", full)
        run()
    assert "No space left" in caplog.text
    assert Job.objects.filter(pk=old.pk).exists()
    assert media(settings) == kept
    assert list(Path(settings.MEDIA_ROOT).glob("archive/*/*")) == [], "half a file"
    run()
    assert [each["id"] for each in lines(settings)] == [str(old.pk)]


def test_a_crash_between_the_file_and_the_rows_archives_it_twice_and_loses_nothing(
    old: Job, settings: Settings, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    kept = media(settings)

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as failing:
        failing.setattr(archive, "_remove", crash)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert Job.objects.filter(pk=old.pk).exists()
    assert media(settings) == kept
    run()
    assert [each["id"] for each in lines(settings)] == [str(old.pk)] * 2


def test_an_error_between_the_file_and_the_rows_leaves_no_file(
    old: Job, settings: Settings, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    def broken(*_: Any) -> None:
        raise DatabaseError("no")

    with monkeypatch.context() as failing:
        failing.setattr(archive, "_remove", broken)
        with pytest.raises(DatabaseError):
            run()
    assert Job.objects.filter(pk=old.pk).exists()
    assert lines(settings) == []


def test_a_full_disk_is_no_reason_to_keep_what_fills_it(old: Job, settings: Settings, run: Run) -> None:
    settings.MEDIA_MIN_FREE_BYTES = 1 << 60
    run()
    assert [each["id"] for each in lines(settings)] == [str(old.pk)]


def test_a_file_that_cannot_be_removed_leaves_no_other(
    old: Job, settings: Settings, monkeypatch: pytest.MonkeyPatch, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    delete = default_storage.delete

    def stuck(name: str) -> None:
        if name == str(old.video):
            raise OSError("it is held")
        delete(name)

    monkeypatch.setattr(default_storage, "delete", stuck)
    run()
    assert f"Files of archived jobs are left: {old.video}: it is held" in caplog.text
    assert str(old.thumbnail) not in media(settings)


def test_reservations_of_removed_jobs_go_and_what_was_spent_stays(
    old: Job, owner: User, settings: Settings, run: Run
) -> None:
    def spent() -> list[tuple[Any, ...]]:
        return list(Spending.objects.order_by("pk").values_list("period", "starts_on", "reserved", "settled"))

    run()
    assert Reservation.objects.count() == 2, "nobody has counted them yet"
    while count_money():
        pass
    before = spent()
    run()
    assert Reservation.objects.get() == Submission.objects.get().reservation
    assert spent() == before
    assert before


def test_a_reservation_that_still_holds_money_stays(owner: User, job: Job, run: Run) -> None:
    while count_money():
        pass
    Job.objects.update(reservation=None)
    run()
    assert Reservation.objects.count() == 1


def test_the_video_of_a_removed_job_is_no_orphan(
    old: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings, run: Run
) -> None:
    settings.AUDIT_SECONDS = 3600
    run()
    assert str(old.pk) not in {str(pk) for pk in Job.objects.values_list("pk", flat=True)}
    nobodys = stranger(sora, age=-86_400 * 10)
    with shifted(LATER):
        found = audit(upstream)
    assert [video.id for video in found.orphans] == [nobodys.id]
    settings.JOB_RETENTION_DAYS = 0
    with shifted(LATER):
        assert len(audit(upstream).orphans) == 1, "nor is it one under another setting"


def test_more_than_fit_into_one_file_are_archived(
    old: Job, make_job: Callable[..., Job], settings: Settings, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr(archive, "_TOGETHER", 2)
    for _ in range(4):
        cancel(make_job())
    count_some()
    run()
    assert len(list(Path(settings.MEDIA_ROOT).glob("archive/*/*"))) == 3
    assert Job.objects.count() == 1
