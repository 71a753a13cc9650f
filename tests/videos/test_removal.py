"""Files are removed when they may be, and only then; and files and rows agree."""

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import ApiKey, User
from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from upstreams.clock import shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, JobEvent, Submission
from videos.results import complete as completing
from videos.results.keep import COLUMNS, fetch_and_keep
from videos.results.media import MARKER
from videos.results.refetch import refetch, request_missing
from videos.results.store import store
from videos.retention import sweep as sweeping
from videos.retention.removal import hold_result, remove_due, remove_result
from videos.retention.stored import stored_files
from videos.retention.sweep import remove_unused, sweep_results
from videos.tasks import clean_results

pytestmark = pytest.mark.django_db

URL = "/api/v1/videos"
OLD = 3 * 3_600


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def render(make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient) -> Callable[..., Job]:
    """A job whose video waits to be fetched."""

    def render(**asked: Any) -> Job:
        job = make_job()
        Job.objects.filter(pk=job.pk).update(**asked)
        job.refresh_from_db()
        submit_next(upstream)
        sora.complete(str(only(job).upstream_id))
        Provider.objects.update(sweep_due_at=None)
        sweep(upstream)
        return job

    return render


@pytest.fixture
def complete(render: Callable[..., Job], upstream: Upstream) -> Callable[..., Job]:
    def complete(**asked: Any) -> Job:
        job = render(**asked)
        store(only(job), upstream)
        job.refresh_from_db()
        assert job.status == "completed"
        return job

    return complete


def files(media: Path) -> list[str]:
    """All but the marker, by their names below the media."""
    found = (path for path in media.rglob("*") if path.is_file() and path.name != MARKER)
    return sorted(str(path.relative_to(media)) for path in found)


def names(*jobs: Job) -> list[str]:
    return sorted(str(file.name) for job in jobs for file in (job.video, job.thumbnail))


def age(media: Path, name: str, seconds: float = OLD) -> None:
    then = time.time() - seconds
    os.utime(media / name, (then, then))


def plant(media: Path, name: str, seconds: float = OLD) -> str:
    path = media / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    age(media, name, seconds)
    return name


def sweep_all(monkeypatch: pytest.MonkeyPatch) -> int:
    """As often as it takes to look at each part."""
    monkeypatch.setattr(sweeping, "_PARTS", 1)
    monkeypatch.setattr(sweeping, "stored_files", lambda _: stored_files())
    return sweep_results()


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Any:
    """The block's transaction, with what is done after it."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def test_an_owner_removes_the_files_and_the_job_stays(
    api: Client, complete: Callable[..., Job], media: Path, commit: Any
) -> None:
    job, other = complete(), complete()
    before = api.get(f"{URL}/{job.pk}").json()["data"]
    with commit():
        answer = api.delete(f"{URL}/{job.pk}/content")
    assert answer.status_code == 200
    after = answer.json()["data"]
    result = after.pop("result")
    removed_at = result["removedAt"]
    assert removed_at is not None
    assert result == before.pop("result") | {"videoUrl": None, "thumbnailUrl": None, "removedAt": removed_at}
    assert after == before | {"updatedAt": removed_at}
    assert api.get(f"{URL}/{job.pk}").json()["data"]["result"] == result
    assert files(media) == names(other)
    for variant in ("video", "thumbnail"):
        gone = api.get(f"{URL}/{job.pk}/content?variant={variant}")
        assert (gone.status_code, gone.json()["error"]["code"]) == (410, "result_removed")
        assert gone.json()["error"]["details"] == {"removedAt": removed_at}
    (line,) = JobEvent.objects.filter(job=job, subject="result")
    assert (line.from_state, line.to_state, line.detail) == ("kept", "removed", {"reason": "asked"})


def test_to_remove_them_again_changes_nothing(api: Client, complete: Callable[..., Job], commit: Any) -> None:
    job = complete()
    with commit():
        first = api.delete(f"{URL}/{job.pk}/content").json()
        assert api.delete(f"{URL}/{job.pk}/content").json() == first
    assert JobEvent.objects.filter(job=job, subject="result").count() == 1


def test_what_is_not_completed_has_no_files_to_remove(api: Client, make_job: Callable[..., Job]) -> None:
    job = make_job()
    answer = api.delete(f"{URL}/{job.pk}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "job_not_completed")
    assert api.delete(f"{URL}/{job.pk}/content?variant=thumbnail").status_code == 400
    job.refresh_from_db()
    assert job.removed_at is None


def test_a_link_and_a_key_that_reads_remove_nothing(
    api: Client, complete: Callable[..., Job], media: Path, commit: Any
) -> None:
    job = complete()
    link = api.get(f"{URL}/{job.pk}").json()["data"]["result"]["videoUrl"]
    _, secret = ApiKey.issue(job.owner, "reader", scope=ApiKey.Scope.READ)
    with commit():
        assert Client().delete(link).status_code == 401
        assert Client(headers={"x-api-key": secret}).delete(f"{URL}/{job.pk}/content").status_code == 403
    assert files(media) == names(job)


def test_a_link_from_before_says_that_the_files_are_gone(
    api: Client, complete: Callable[..., Job], commit: Any
) -> None:
    job = complete()
    link = api.get(f"{URL}/{job.pk}").json()["data"]["result"]["videoUrl"]
    with commit():
        api.delete(f"{URL}/{job.pk}/content")
    assert Client().get(link).json()["error"]["code"] == "result_removed"


def test_what_is_on_hold_stays_whoever_asks(
    api: Client, complete: Callable[..., Job], settings: Settings, media: Path, commit: Any
) -> None:
    job = complete(retain_for=60)
    assert call_command("hold_results", str(job.pk), stdout=StringIO()) is None
    shown = api.get(f"{URL}/{job.pk}").json()["data"]["result"]
    assert shown["keptUntil"] is None
    settings.RESULT_RETENTION_DAYS = 1
    with commit(), shifted(timedelta(days=30)):
        answer = api.delete(f"{URL}/{job.pk}/content")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "result_on_hold")
        assert remove_due() == 0
        assert files(media) == names(job)
        call_command("hold_results", str(job.pk), "--release", stdout=StringIO())
        assert remove_due() == 1
    assert files(media) == []


def test_holding_says_what_it_has_not_found_and_who_did_it(
    api: Client, complete: Callable[..., Job], commit: Any
) -> None:
    out, err = StringIO(), StringIO()
    job, removed = complete(), complete()
    with commit():
        remove_result(removed)
    with pytest.raises(CommandError):
        call_command("hold_results", str(job.pk), str(UUID(int=7)), str(removed.pk), stdout=out, stderr=err)
    assert out.getvalue() == "On hold now: 1 jobs.\n"
    assert f"There is no job {UUID(int=7)}." in err.getvalue()
    assert f"The files of job {removed.pk} were removed" in err.getvalue()
    assert not hold_result(job, on_hold=True, by="eve")
    (line,) = JobEvent.objects.filter(job=job, subject="result")
    assert (line.from_state, line.to_state) == ("kept", "on hold")
    assert line.detail["by"].startswith("operator ")
    assert api.get(f"{URL}/{job.pk}").json()["data"]["result"]["onHold"] is True


def test_nothing_is_removed_while_the_media_is_not_mounted(
    api: Client, complete: Callable[..., Job], media: Path
) -> None:
    job = complete(retain_for=60)
    (media / MARKER).unlink()
    answer = api.delete(f"{URL}/{job.pk}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "media_unavailable")
    with shifted(timedelta(hours=1)):
        clean_results()
    job.refresh_from_db()
    assert job.removed_at is None
    assert files(media) == names(job)


def test_a_time_that_was_asked_for_is_not_cut_short_by_the_deployments_own(
    complete: Callable[..., Job], settings: Settings
) -> None:
    """An older worker, which completes the job during an upgrade, does not know it."""
    job = complete()
    Job.objects.filter(pk=job.pk).update(retain_for=315_360_000)
    settings.RESULT_RETENTION_DAYS = 1
    with shifted(timedelta(days=30)):
        assert remove_due() == 0


@pytest.mark.parametrize("together", [True, False])
def test_files_go_when_the_time_that_was_asked_for_is_over(
    api: Client,
    complete: Callable[..., Job],
    settings: Settings,
    media: Path,
    commit: Any,
    monkeypatch: pytest.MonkeyPatch,
    together: bool,
) -> None:
    if not together:
        monkeypatch.setattr(completing, "_write", lambda some: set())
    # What was asked for counts, whatever the deployment's own time.
    settings.RESULT_RETENTION_DAYS = 1
    long, short, usual = complete(retain_for=864_000), complete(retain_for=3_600), complete()
    assert short.completed_at is not None
    assert short.remove_at == short.completed_at + timedelta(hours=1)
    assert usual.remove_at is None
    shown = api.get(f"{URL}/{short.pk}").json()["data"]
    assert shown["retainFor"] == 3_600
    assert shown["result"]["keptUntil"] > shown["completedAt"]
    left = [
        (0.9, [long, short, usual]),
        (1.1, [long, usual]),
        (23.9, [long, usual]),
        (24.1, [long]),
        (239.9, [long]),
        (241, []),
    ]
    for hours, kept in left:
        with commit(), shifted(timedelta(hours=hours)):
            clean_results()
        assert files(media) == names(*kept)


def test_without_a_time_they_are_kept(
    complete: Callable[..., Job], media: Path, settings: Settings, api: Client
) -> None:
    settings.RESULT_RETENTION_DAYS = 0
    job = complete()
    assert api.get(f"{URL}/{job.pk}").json()["data"]["result"]["keptUntil"] is None
    with shifted(timedelta(days=36_000)):
        assert remove_due() == 0
    assert files(media) == names(job)


def test_the_deployments_time_counts_for_what_was_kept_before_it_was_set(
    complete: Callable[..., Job], media: Path, settings: Settings, commit: Any, api: Client
) -> None:
    job = complete()
    settings.RESULT_RETENTION_DAYS = 7
    assert api.get(f"{URL}/{job.pk}").json()["data"]["result"]["keptUntil"] is not None
    with commit(), shifted(timedelta(days=6, hours=23)):
        assert remove_due() == 0
    with commit(), shifted(timedelta(days=7, hours=1)):
        assert remove_due() == 1
        assert remove_due() == 0
    assert files(media) == []


@pytest.mark.parametrize("seconds", [59, 315_360_001, 3_600.5, "3600", True])
def test_a_time_that_cannot_be_kept_is_refused(api: Client, upstream: Upstream, seconds: Any) -> None:
    answer = api.post(URL, {"prompt": "A boat", "retainFor": seconds}, content_type="application/json")
    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["error"]["details"]] == ["retainFor"]


@pytest.mark.parametrize("seconds", [60, 315_360_000])
def test_a_caller_says_how_long_files_are_kept(api: Client, upstream: Upstream, seconds: int) -> None:
    made = api.post(URL, {"prompt": "A boat", "retainFor": seconds}, content_type="application/json")
    job = Job.objects.get(pk=made.json()["data"]["jobId"])
    assert job.retain_for == seconds
    assert api.get(f"{URL}/{job.pk}").json()["data"]["retainFor"] == seconds


def test_a_key_says_how_long_the_files_of_its_jobs_are_kept(owner: User, upstream: Upstream) -> None:
    err = StringIO()
    call_command(
        *("keys", "make", owner.username, "--name", "short", "--scope", "admin", "--retain-for", "3600"),
        stdout=(out := StringIO()),
        stderr=err,
    )
    caller = Client(headers={"x-api-key": out.getvalue().strip()})
    (shown,) = caller.get("/api/v1/keys").json()["data"]
    assert shown["retainFor"] == 3_600
    made = caller.post("/api/v1/keys", {"name": "b", "scope": "read", "retainFor": 60}, "application/json")
    assert made.json()["data"]["retainFor"] == 60
    found = []
    for more in ({}, {"retainFor": 7_200}):
        answer = caller.post(URL, {"prompt": "A boat", **more}, content_type="application/json")
        found.append(Job.objects.get(pk=answer.json()["data"]["jobId"]).retain_for)
    caller.post("/api/v1/batches", "prompt,retainFor\na boat,\na ship,120\n", content_type="text/csv")
    found += Job.objects.exclude(group=None).order_by("pk").values_list("retain_for", flat=True)
    assert found == [3_600, 7_200, 3_600, 120]
    with pytest.raises(CommandError, match="--retain-for is from 60 to"):
        call_command(
            *("keys", "make", owner.username, "--name", "x", "--scope", "read", "--retain-for", "1"),
            stdout=StringIO(),
            stderr=err,
        )


def test_what_was_removed_is_not_fetched_again(
    api: Client, complete: Callable[..., Job], upstream: Upstream, media: Path, commit: Any
) -> None:
    job = complete()
    with commit():
        remove_result(job)
    assert list(request_missing()) == []
    assert api.post(f"{URL}/{job.pk}/sync").status_code == 409
    Submission.objects.filter(job=job).update(due_at=timezone.now())
    refetch(only(job), upstream)
    assert files(media) == []
    assert only(job).due_at is None


def test_files_that_were_removed_while_they_were_fetched_again_do_not_come_back(
    complete: Callable[..., Job],
    upstream: Upstream,
    media: Path,
    commit: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = complete()
    (media / str(job.video.name)).unlink()
    Submission.objects.filter(job=job).update(due_at=timezone.now())

    def fetch(submission: Submission, upstream: Upstream) -> Any:
        kept = fetch_and_keep(submission, upstream)
        with commit():
            remove_result(job)
        return kept

    monkeypatch.setattr("videos.results.refetch.fetch_and_keep", fetch)
    refetch(only(job), upstream)
    assert files(media) == []


def test_a_file_that_cannot_be_removed_now_is_swept_away_later(
    complete: Callable[..., Job],
    media: Path,
    commit: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = complete()

    def refuse(name: str) -> None:
        raise PermissionError(13, "no", name)

    with monkeypatch.context() as broken:
        broken.setattr(default_storage, "delete", refuse)
        with commit(), caplog.at_level(logging.WARNING):
            remove_result(job)
    assert "swept away later" in caplog.text
    assert files(media) == names(job)
    for name in names(job):
        age(media, name)
    assert sweep_all(monkeypatch) == 2
    assert files(media) == []


def test_a_sweep_removes_what_no_job_uses_and_nothing_else(
    complete: Callable[..., Job],
    render: Callable[..., Job],
    upstream: Upstream,
    media: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used, running = complete(), render()
    # A worker died between storing the file and completing the job.
    left = fetch_and_keep(only(running), upstream)
    folder = str(Path(left.video).parent)
    for name in files(media):
        age(media, name)
    foreign = [plant(media, f"{folder}/notes.txt"), plant(media, "videos/2026/readme.md")]
    other = f"{folder}/{running.pk}-1-0123abcd.mp4"
    young = plant(media, other, 0)
    assert sweep_all(monkeypatch) == 0
    assert files(media) == sorted([*names(used), left.video, left.thumbnail, *foreign, young])
    age(media, young)
    # Not before its job has come to its end and has its own file.
    assert sweep_all(monkeypatch) == 0
    with shifted(timedelta(hours=2)):
        store(only(running), upstream)
    assert sweep_all(monkeypatch) == 3
    assert sweep_all(monkeypatch) == 0


def test_each_part_is_swept_in_its_turn(
    complete: Callable[..., Job], media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = complete()
    name = plant(media, f"videos/2026/11/{job.pk}-9-0123abcd.mp4")
    turns = []
    began = time.time()
    for turn in range(256):
        monkeypatch.setattr(sweeping.time, "time", lambda turn=turn: began + turn * sweeping.SWEEP_SECONDS)
        if sweep_results():
            turns.append(turn)
    assert len(turns) == 1
    assert name not in files(media)


def restored(job: Job, **fields: Any) -> None:
    """The row as an old backup has it."""
    Job.objects.filter(pk=job.pk).update(**fields)


@pytest.mark.parametrize("days", [0, 30])
def test_a_file_without_a_job_is_not_swept_away(
    complete: Callable[..., Job], media: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """The database may be an old backup, and the file all that is left of a paid render."""
    complete()
    settings.JOB_RETENTION_DAYS = days
    old = UUID(int=(int((time.time() - 50 * 86_400) * 1000) << 80) + 1)
    planted = plant(media, f"videos/2026/11/{old}-1-0123abcd.mp4", 50 * 86_400)
    assert sweep_all(monkeypatch) == 0
    assert planted in files(media)


@pytest.mark.parametrize(
    "before",
    [
        {"status": "processing", "video": ""},
        {"status": "pending", "video": ""},
        # It was asked for again after the backup.
        {"status": "failed", "error_code": "moderation_blocked", "video": ""},
        # Its file was missing, and was fetched again after the backup.
        {"video": "videos/2026/11/gone.mp4"},
    ],
)
def test_a_file_of_a_job_that_an_old_backup_knows_otherwise_is_not_swept_away(
    complete: Callable[..., Job], media: Path, monkeypatch: pytest.MonkeyPatch, before: dict[str, Any]
) -> None:
    job = complete()
    for name in names(job):
        age(media, name, OLD)
    restored(job, **before, updated_at=timezone.now() - timedelta(hours=4))
    assert sweep_all(monkeypatch) == 0
    assert files(media) == names(job)


def test_nothing_is_swept_in_a_folder_that_is_not_ours(
    complete: Callable[..., Job], media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = complete()
    name = plant(media, f"videos/2026/11/{job.pk}-9-0123abcd.mp4")
    (media / MARKER).unlink()
    swept: list[bool] = []
    monkeypatch.setattr("videos.tasks.sweep_results", lambda: swept.append(True))
    clean_results()
    assert not swept
    assert name in files(media)


def test_a_file_that_a_job_has_taken_meanwhile_is_not_swept_away(
    render: Callable[..., Job], upstream: Upstream, media: Path
) -> None:
    job = render()
    kept = fetch_and_keep(only(job), upstream)
    (unused_file,) = (file for file in stored_files() if file.name == kept.video)
    assert completing.complete(only(job), kept)
    assert not remove_unused(unused_file)
    assert kept.video in files(media)


@pytest.mark.parametrize("together", [True, False])
def test_a_job_does_not_take_a_file_that_was_swept_away(
    render: Callable[..., Job],
    upstream: Upstream,
    media: Path,
    monkeypatch: pytest.MonkeyPatch,
    together: bool,
) -> None:
    """Its worker slept longer than anybody waits."""
    if not together:
        monkeypatch.setattr(completing, "_write", lambda some: set())
    job = render()
    submission = only(job)
    kept = fetch_and_keep(submission, upstream)
    default_storage.delete(kept.video)
    assert not completing.complete(submission, kept)
    job.refresh_from_db()
    assert (job.status, only(job).state) == ("processing", "rendered")
    store(submission, upstream)
    with shifted(timedelta(hours=1)):
        store(only(job), upstream)
    job.refresh_from_db()
    assert job.status == "completed"
    assert (media / str(job.video.name)).read_bytes() == clip()


def checked(*options: str) -> tuple[list[list[str]], str]:
    out = StringIO()
    try:
        call_command("check_results", *options, stdout=out)
    except CommandError as error:
        return [line.split("  ") for line in out.getvalue().splitlines()], str(error)
    return [line.split("  ") for line in out.getvalue().splitlines()], ""


def test_what_agrees_is_said_to_agree(complete: Callable[..., Job], commit: Any) -> None:
    complete()
    removed = complete()
    with commit():
        remove_result(removed)
    assert checked("--hash", "--min-age", "0") == ([["Files and jobs agree."]], "")


def test_every_disagreement_is_listed(
    complete: Callable[..., Job], media: Path, make_job: Callable[..., Job]
) -> None:
    jobs = [complete() for _ in range(5)]
    missing, cut, changed, blind, well = jobs
    (media / str(missing.video.name)).unlink()
    (media / str(cut.video.name)).write_bytes(clip()[:-1])
    (media / str(changed.video.name)).write_bytes(clip()[::-1])
    (media / str(blind.thumbnail.name)).unlink()
    unused = plant(media, f"videos/2026/11/{well.pk}-9-0123abcd.mp4")
    young = plant(media, f"videos/2026/11/{well.pk}-9-0123abce.mp4", 10)
    orphan = plant(media, f"videos/2026/11/{UUID(int=5)}-1-0123abcd.mp4")
    foreign = plant(media, "videos/2026/11/holiday.mp4")
    draft = plant(media, "unfinished/7-abc", 8_000)
    plant(media, "unfinished/8-abc", 10)
    expected = {
        ("missing", str(missing.video.name)),
        ("size", str(cut.video.name)),
        ("missing", str(blind.thumbnail.name)),
        ("unused", unused),
        ("orphan", orphan),
        ("foreign", foreign),
        ("unfinished", draft),
    }
    lines, error = checked()
    assert {(line[0], line[1]) for line in lines} == expected
    assert error.startswith("7 disagreements")
    lines, _ = checked("--hash", "--min-age", "5")
    assert {(line[0], line[1]) for line in lines} == expected | {
        ("hash", str(changed.video.name)),
        ("unused", young),
    }
    assert files(media) != [], "nothing is changed"


def test_nothing_is_compared_if_the_media_is_not_there(complete: Callable[..., Job], media: Path) -> None:
    complete()
    (media / MARKER).unlink()
    lines, error = checked()
    assert lines == []
    assert error.startswith("Nothing can be compared")


def test_the_columns_of_a_kept_file_are_its_fields(render: Callable[..., Job], upstream: Upstream) -> None:
    assert tuple(fetch_and_keep(only(render()), upstream).fields()) == COLUMNS


def test_a_form_names_a_time_as_well(api: Client, upstream: Upstream) -> None:
    answer = api.post(URL, {"prompt": "A boat", "retainFor": "3600"})
    assert Job.objects.get(pk=answer.json()["data"]["jobId"]).retain_for == 3_600


def test_a_young_file_is_left_to_who_may_be_about_to_use_it(
    complete: Callable[..., Job], media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = complete()
    name = plant(media, f"videos/2026/11/{job.pk}-9-0123abcd.mp4", 3_000)
    assert sweep_all(monkeypatch) == 0
    age(media, name, 3_700)
    assert sweep_all(monkeypatch) == 1
