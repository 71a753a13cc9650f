"""Results move between the disk and buckets, and a job has its files at every moment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from tests.stores.conftest import Add
from tests.stores.test_bucket import names, on_disk, result
from tests.timeouts import TIMEOUT
from tests.videos.scripted import clip
from tests.videos.test_links import got
from videos.management.commands import move_results
from videos.models import Job, JobEvent, Preview
from videos.previews.make import make_next
from videos.results import keep, move
from videos.results.media import MARKER
from videos.retention import archive
from videos.stores.bucket import Bucket

# Files go once it is committed that no job has them.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def on_the_disk(bucket: Bucket, complete: Callable[..., Job], settings: Settings) -> list[Job]:
    """Three jobs with all their pictures, from before there was a bucket."""
    settings.RESULT_BUCKET = ""
    jobs = [complete() for _ in range(3)]
    for _ in jobs:
        make_next()
    settings.RESULT_BUCKET = bucket.bucket_name
    assert len(on_disk(settings)) == 18
    return jobs


def moved(job: Job) -> list[str]:
    """The names of all files of a job."""
    job.refresh_from_db()
    preview = Preview.objects.get(job=job)
    return [str(job.video.name), str(job.thumbnail.name), *preview.names()]


def test_results_move_into_the_bucket_and_back(
    api: Client,
    on_the_disk: list[Job],
    bucket: Bucket,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = result(api, on_the_disk[0])
    # Of the version before checksums.
    Job.objects.filter(pk=on_the_disk[1].pk).update(sha256="", crc32=None)
    call_command("move_results")
    name = bucket.bucket_name
    assert capsys.readouterr().out == f"Moved to the bucket {name}: 3 jobs, {3 * len(clip()):,} bytes.\n"
    assert on_disk(settings) == []
    assert len(names(bucket)) == 18
    for job in on_the_disk:
        assert all(each.startswith(f"s3/{name}/videos/") for each in moved(job))
        shown = result(api, job)
        for each in ("videoUrl", "thumbnailUrl", "posterUrl", "spritesheetUrl", "previewUrl"):
            assert requests.get(shown[each], timeout=TIMEOUT).ok
        assert requests.get(shown["videoUrl"], timeout=TIMEOUT).content == clip()
        assert (job.sha256, job.crc32) == (on_the_disk[0].sha256, on_the_disk[0].crc32)
        event = JobEvent.objects.filter(job=job, subject="result").get()
        assert (event.from_state, event.to_state, event.detail) == ("kept", "moved", {"to": f"s3/{name}"})
    assert Client().get(before["videoUrl"]).status_code == 302, "a link of ours leads to the file still"
    call_command("check_results", "--hash", "--min-age", "-60")

    settings.RESULT_BUCKET = ""
    call_command("move_results")
    assert names(bucket) == []
    assert len(on_disk(settings)) == 18
    modes = {
        oct(path.stat().st_mode)[-3:] for path in Path(settings.MEDIA_ROOT).rglob("*.*") if path.is_file()
    }
    assert modes == {"644"}
    for job in on_the_disk:
        assert got(Client().get(result(api, job)["videoUrl"])) == (200, clip())
    call_command("check_results", "--hash", "--min-age", "-60")
    assert "Moved to the disk: 3 jobs" in capsys.readouterr().out
    call_command("move_results")
    assert capsys.readouterr().out == "Moved to the disk: 0 jobs, 0 bytes.\n"


def test_results_move_from_bucket_to_bucket(
    complete: Callable[..., Job], bucket: Bucket, add_bucket: Add, settings: Settings
) -> None:
    job = complete()
    other = add_bucket()
    settings.RESULT_BUCKET = other.bucket_name
    call_command("move_results")
    assert (names(bucket), len(names(other))) == ([], 2)
    job.refresh_from_db()
    assert default_storage.size(str(job.video.name)) == len(clip())
    assert on_disk(settings) == []


@pytest.mark.parametrize("at", ["store_file", "_take", "_delete"])
def test_a_move_that_dies_has_lost_nothing_and_goes_on(
    api: Client,
    on_the_disk: list[Job],
    bucket: Bucket,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    step: Any = getattr(move, at)
    calls: list[Any] = []

    def die(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(move, at, die)
    with pytest.raises(KeyboardInterrupt):
        call_command("move_results")
    monkeypatch.undo()
    for job in on_the_disk:
        assert all(default_storage.exists(each) for each in moved(job))
    call_command("move_results")
    for job in on_the_disk:
        assert all(each.startswith(f"s3/{bucket.bucket_name}/") for each in moved(job))
        assert requests.get(result(api, job)["videoUrl"], timeout=TIMEOUT).content == clip()
    used = {each for job in on_the_disk for each in moved(job)}
    left = {f"s3/{bucket.bucket_name}/{each}" for each in names(bucket)} - used
    assert len(left) <= 6, "no more than what one job had"


def test_an_answer_to_the_commit_that_is_lost_takes_no_file_away(
    on_the_disk: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = move._take

    def lose(*arguments: Any) -> None:
        take(*arguments)
        raise OSError("the connection was lost")

    monkeypatch.setattr(move, "_take", lose)
    with pytest.raises(CommandError, match="3 jobs were not moved"):
        call_command("move_results")
    for job in on_the_disk:
        assert all(default_storage.exists(each) for each in moved(job))


def test_what_is_not_as_it_was_kept_stays_where_it_is(
    on_the_disk: list[Job], bucket: Bucket, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    altered, missing, fine = on_the_disk
    Path(altered.video.path).write_bytes(bytes(len(clip())))
    Path(missing.video.path).unlink()
    with pytest.raises(CommandError, match="2 jobs were not moved"):
        call_command("move_results")
    said = capsys.readouterr()
    assert f"{altered.pk}: {altered.video.name} is not as it was kept" in said.err
    assert f"{missing.pk}: {missing.video.name} is missing" in said.err
    assert "1 jobs" in said.out
    assert all(each.startswith("s3/") for each in moved(fine))
    assert not any(each.startswith("s3/") for job in (altered, missing) for each in moved(job))
    assert len(names(bucket)) == 6


def test_a_job_that_changes_meanwhile_keeps_what_it_then_has(
    on_the_disk: list[Job], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = on_the_disk[0]
    new = default_storage.save(f"{str(job.video.name)[:-12]}0badcafe.mp4", ContentFile(clip()))
    copy = move._copy

    def copied(name: str, target: str) -> Any:
        found = copy(name, target)
        Job.objects.filter(pk=job.pk).update(video=new)
        return found

    monkeypatch.setattr(move, "_copy", copied)
    with pytest.raises(CommandError):
        call_command("move_results")
    job.refresh_from_db()
    assert job.video.name == new
    assert default_storage.exists(new)
    assert len(names(bucket)) == 12, "the copies of this job are gone"


def test_copies_that_are_so_old_that_they_may_be_swept_away_are_not_taken(
    on_the_disk: list[Job], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "ADOPTED_SECONDS", 0)
    with pytest.raises(CommandError, match="3 jobs were not moved"):
        call_command("move_results")
    for job in on_the_disk:
        assert all(default_storage.exists(each) for each in moved(job))


def test_nothing_moves_to_a_folder_that_is_not_mounted(
    complete: Callable[..., Job], bucket: Bucket, settings: Settings
) -> None:
    job = complete()
    settings.RESULT_BUCKET = ""
    (Path(settings.MEDIA_ROOT) / MARKER).unlink()
    with pytest.raises(CommandError, match=r"Stopped after 0 jobs: the media folder .* has no marker"):
        call_command("move_results")
    job.refresh_from_db()
    assert default_storage.exists(str(job.video.name))


def test_copies_that_were_swept_away_from_the_disk_are_not_taken(
    complete: Callable[..., Job], bucket: Bucket, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = complete()
    settings.RESULT_BUCKET = ""
    copy = move._copy

    def swept(name: str, target: str) -> Any:
        new, found = copy(name, target)
        default_storage.delete(new)
        return new, found

    monkeypatch.setattr(move, "_copy", swept)
    with pytest.raises(CommandError, match="1 jobs were not moved"):
        call_command("move_results")
    job.refresh_from_db()
    assert default_storage.exists(str(job.video.name))


def test_what_stays_behind_is_said(
    complete: Callable[..., Job],
    bucket: Bucket,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever removes RESULT_STORAGE_BEFORE then loses it."""
    complete()
    settings.RESULT_BUCKET = ""
    monkeypatch.setattr(move_results, "move_results", lambda: iter(()))
    with pytest.raises(CommandError, match="1 jobs were not moved"):
        call_command("move_results")
    assert "1 jobs have files elsewhere: keep RESULT_STORAGE_BEFORE" in capsys.readouterr().err
    monkeypatch.undo()
    call_command("move_results")
    make_next()
    Preview.objects.update(poster=f"s3/{bucket.bucket_name}/videos/2026/11/x.jpg")
    assert move.elsewhere() == 1, "a picture as well"
    settings.RESULT_BUCKET = bucket.bucket_name
    assert move.elsewhere() == 1


def test_a_job_that_was_archived_meanwhile_ends_nothing(
    on_the_disk: list[Job], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = move._copy

    def archived(name: str, target: str) -> Any:
        found = copy(name, target)
        archive._remove(list(Job.objects.filter(pk=on_the_disk[0].pk)))
        return found

    monkeypatch.setattr(move, "_copy", archived)
    with pytest.raises(CommandError, match="1 jobs were not moved"):
        call_command("move_results")
    assert len(names(bucket)) == 12


def test_one_job_that_cannot_be_read_holds_up_no_other(
    on_the_disk: list[Job], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = move._copy

    def refuse(name: str, target: str) -> Any:
        if str(on_the_disk[0].pk) in name:
            raise OSError("Input/output error")
        return copy(name, target)

    monkeypatch.setattr(move, "_copy", refuse)
    with pytest.raises(CommandError, match="1 jobs were not moved"):
        call_command("move_results")
    assert len(names(bucket)) == 12
    monkeypatch.setattr(move, "_FAILURES", 1)
    with pytest.raises(CommandError, match="Run it again"):
        call_command("move_results")


def test_a_new_machine_needs_no_folder_of_drafts(
    complete: Callable[..., Job], bucket: Bucket, settings: Settings
) -> None:
    complete()
    (Path(settings.MEDIA_ROOT) / "unfinished").rmdir()
    settings.RESULT_BUCKET = ""
    call_command("move_results")
    assert names(bucket) == []
