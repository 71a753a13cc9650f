"""The media is mounted and has room, or nothing is fetched and no job fails."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from tests.configured import configure
from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from tests.videos.test_downtime import look
from tests.videos.test_submit import only
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.files.downloads import Content
from upstreams.registry import Upstream
from videos.lifecycle.following.poll import NotSyncable, ask_now
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import NotRetryable, retry
from videos.models import Job, MediaFolder
from videos.results.media import MARKER, MediaUnusable, accept_media, media_problem, require_media
from videos.results.refetch import is_missing

pytestmark = pytest.mark.django_db


@pytest.fixture
def media(settings: Settings) -> Path:
    return Path(settings.MEDIA_ROOT)


@pytest.fixture
def send(upstream: Upstream, sora: ScriptedClient, make_job: Callable[..., Job]) -> Callable[[], Job]:
    """A job whose render has finished upstream."""

    def sent() -> Job:
        job = make_job()
        submit_next(upstream)
        sora.complete(str(only(job).upstream_id))
        sweep(upstream)
        return job

    return sent


@pytest.fixture
def completed(send: Callable[[], Job], upstream: Upstream) -> Job:
    """One whose file is kept, in a folder that has its marker by then."""
    job = send()
    look(upstream)
    job.refresh_from_db()
    assert job.status == "completed"
    return job


@contextmanager
def unmounted(media: Path) -> Iterator[None]:
    """An empty mount point."""
    away = media.with_name("mounted elsewhere")
    media.rename(away)
    media.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(media)
        away.rename(media)


def test_while_the_media_is_not_mounted_nothing_is_fetched_and_no_job_fails(
    completed: Job, send: Callable[[], Job], upstream: Upstream, sora: ScriptedClient, media: Path
) -> None:
    job = send()
    with unmounted(media):
        for hours in range(0, 30, 5):
            with worked(hours * 3600):
                look(upstream)
        assert "not mounted" in media_problem()
        assert list(media.iterdir()) == [], "nothing is written beside the media"
        found = only(job)
        assert (found.state, found.attempts, found.silent_since) == ("rendered", 0, None)
    assert media_problem() == ""
    with worked(31 * 3600):
        look(upstream)
    assert Job.objects.get(pk=job.pk).status == "completed"


def test_a_mount_point_that_is_gone_is_not_made(
    completed: Job, send: Callable[[], Job], upstream: Upstream, media: Path
) -> None:
    job = send()
    shutil.rmtree(media)
    look(upstream)
    assert not media.exists()
    assert only(job).state == "rendered"


def test_a_media_that_goes_away_during_a_fetch_completes_no_job(
    completed: Job, send: Callable[[], Job], upstream: Upstream, sora: ScriptedClient, media: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    job = send()
    whole = sora.download

    @contextmanager
    def meanwhile(video_id: str, variant: str = "video", **_: object) -> Iterator[Content]:
        if variant == "thumbnail":
            # All but the marker goes on as before: the mount point has the same folders.
            (media / MARKER).unlink()
        with whole(video_id, variant) as content:
            yield content

    monkeypatch.setattr(sora, "download", meanwhile)
    before = sorted(media.rglob("*.mp4"))
    look(upstream)
    assert (only(job).state, only(job).attempts) == ("rendered", 0)
    assert sorted(media.rglob("*.mp4")) == before, "what was kept beside the media is removed"


def test_a_full_disk_pauses_fetching_and_fails_no_job(
    completed: Job, send: Callable[[], Job], upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    job = send()
    settings.MEDIA_MIN_FREE_BYTES = 1 << 50
    downloads = sora.content = errors.Unavailable("it is not asked for")
    for hours in range(0, 30, 5):
        with worked(hours * 3600):
            look(upstream)
    assert (only(job).state, only(job).attempts) == ("rendered", 0)
    assert "bytes left" in media_problem()
    settings.MEDIA_MIN_FREE_BYTES = 0
    assert downloads
    sora.content = b""
    with worked(31 * 3600):
        look(upstream)
    assert Job.objects.get(pk=job.pk).status == "completed"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_during_a_fetch_counts_as_no_try(
    send: Callable[[], Job], upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:  # fmt: skip
    job = send()

    def fails(_: int) -> None:
        raise OSError(number, "the disk")

    monkeypatch.setattr("videos.results.fetch.os.fsync", fails)
    for minutes in range(0, 36 * 60, 360):
        with worked(60 * minutes):
            look(upstream)
    assert (only(job).state, only(job).attempts) == ("rendered", 0)


def test_a_file_that_does_not_fit_is_not_begun(
    send: Callable[[], Job], upstream: Upstream, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.MEDIA_MIN_FREE_BYTES = 0
    job = send()
    monkeypatch.setattr("videos.results.fetch.shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    look(upstream)
    assert (only(job).state, only(job).attempts) == ("rendered", 0)
    assert "no room" in only(job).error_message


def test_another_folder_is_not_taken_for_ours(completed: Job, media: Path) -> None:
    (media / MARKER).write_text("f2b1ad0c-6d0d-4f0e-8e6c-1f2b3c4d5e6f\n")
    with pytest.raises(MediaUnusable, match="another"):
        require_media()
    (media / MARKER).write_text("not an id")
    with pytest.raises(MediaUnusable, match="no marker"):
        require_media()


def test_a_database_with_results_begins_no_new_folder(completed: Job, media: Path) -> None:
    MediaFolder.objects.all().delete()
    (media / MARKER).unlink()
    assert "accept" in media_problem()
    with pytest.raises(MediaUnusable, match="accept"):
        require_media()
    assert not (media / MARKER).exists()


def test_a_new_deployment_begins_its_folder_once(media: Path) -> None:
    assert media_problem() == ""
    assert not media.exists(), "who only looks makes nothing"
    require_media()
    marker = (media / MARKER).read_text()
    require_media()
    assert (media / MARKER).read_text() == marker
    assert MediaFolder.objects.count() == 1
    MediaFolder.objects.all().delete()
    require_media()
    assert str(MediaFolder.objects.get().identity) == marker.strip(), "what a crash left is gone on with"


def test_a_person_accepts_another_folder(
    completed: Job, media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = MediaFolder.objects.get().identity
    with unmounted(media):
        with pytest.raises(CommandError, match="media accept"):
            call_command("media")
        call_command("media", "accept")
        assert media_problem() == ""
        assert MediaFolder.objects.get().identity != before
    with pytest.raises(MediaUnusable):
        require_media()
    assert accept_media() == before
    call_command("media")
    assert "is mounted" in capsys.readouterr().out


def test_a_missing_file_is_fetched_again_on_a_sync_or_a_retry(
    completed: Job, upstream: Upstream, sora: ScriptedClient, media: Path
) -> None:
    paid = only(completed).cost_state
    for ask in (ask_now, retry):
        completed.refresh_from_db()
        (media / str(completed.video.name)).unlink()
        assert is_missing(completed)
        ask(completed)
        look(upstream)
        completed.refresh_from_db()
        assert (completed.status, only(completed).state, only(completed).due_at) == (
            "completed",
            "stored",
            None,
        )
        with completed.video.open() as file:
            assert file.read() == clip()
        assert only(completed).cost_state == paid
    assert len(sora.creates) == 1
    assert len(list(media.rglob("*.webp"))) == 1, "the picture of before is replaced"
    assert completed.events.filter(detail__how="fetched again").count() == 2


def test_a_file_that_was_cut_short_in_the_media_is_not_served_and_is_fetched_again(
    api: Client, completed: Job, upstream: Upstream, media: Path
) -> None:
    content = f"/api/v1/videos/{completed.pk}/content"
    damaged = media / str(completed.video.name)
    damaged.write_bytes(clip()[:100])
    assert api.get(content).status_code == 410
    ask_now(completed)
    look(upstream)
    response = api.get(content)
    assert b"".join(response.streaming_content) == clip()  # type: ignore[attr-defined]
    assert not damaged.exists()


def test_a_file_that_is_there_is_not_fetched_again(completed: Job, upstream: Upstream) -> None:
    with pytest.raises(NotSyncable):
        ask_now(completed)
    with pytest.raises(NotRetryable):
        retry(completed)


def test_what_no_upstream_of_today_has_is_not_fetched_again(
    completed: Job, upstream: Upstream, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (media / str(completed.video.name)).unlink()
    configure(monkeypatch, replace(upstream, name="another"))
    with pytest.raises(NotSyncable):
        ask_now(completed)


def test_a_file_that_is_gone_upstream_is_not_asked_for_again_for_ever(
    completed: Job, upstream: Upstream, sora: ScriptedClient, media: Path
) -> None:
    (media / str(completed.video.name)).unlink()
    sora.content = errors.NotFound("expired")
    ask_now(completed)
    look(upstream)
    completed.refresh_from_db()
    assert (completed.status, only(completed).state, only(completed).due_at) == ("completed", "stored", None)


def test_a_refetch_that_fails_is_tried_again_and_one_without_media_waits(
    completed: Job, upstream: Upstream, sora: ScriptedClient, media: Path
) -> None:
    with unmounted(media):
        ask_now(completed)
        look(upstream)
        assert only(completed).due_at is not None
    (media / str(completed.video.name)).unlink()
    sora.content = errors.Unavailable("reset")
    with worked(60):
        look(upstream)
    assert only(completed).attempts == 1
    sora.content = b""
    with worked(120):
        look(upstream)
    assert not is_missing(Job.objects.get())


def test_a_refetch_of_a_file_that_came_back_with_its_mount_fetches_nothing(
    completed: Job, upstream: Upstream, sora: ScriptedClient, media: Path
) -> None:
    with unmounted(media):
        ask_now(completed)
    sora.content = errors.Unavailable("nobody asks for it")
    look(upstream)
    assert (only(completed).due_at, only(completed).attempts) == (None, 0)


def test_an_operator_has_all_missing_files_fetched_again(
    completed: Job, send: Callable[[], Job], upstream: Upstream, media: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    configure(monkeypatch, upstream)
    send()
    look(upstream)
    for path in media.rglob("*.mp4"):
        path.unlink()
    call_command("media", "refetch")
    assert "Missing files: 2; 2 are fetched again." in capsys.readouterr().out
    look(upstream)
    assert not [job for job in Job.objects.all() if is_missing(job)]


def test_a_caller_is_told_how_a_missing_file_comes_back(api: Client, completed: Job, media: Path) -> None:
    address = f"/api/v1/videos/{completed.pk}/content"
    with unmounted(media):
        answer = api.get(address)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "media_unavailable")
        assert answer["Retry-After"] == "30"
    (media / str(completed.video.name)).unlink()
    answer = api.get(address)
    assert answer.status_code == 410
    assert "/sync" in answer.json()["error"]["message"]
    answer = api.post(f"/api/v1/videos/{completed.pk}/sync", content_type="application/json")
    assert answer.json()["data"]["status"] == "completed", answer.content
    assert only(completed).due_at is not None
