import hashlib
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import pytest
from django.core.files.storage import default_storage
from django.test import Client
from pytest_django import Settings

from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.files.downloads import Content
from upstreams.client.types import Phase
from upstreams.clock import shifted
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission
from videos.results.differences import differences
from videos.results.media import MARKER
from videos.results.probe import Unplayable, jpeg_of_first_frame, probe
from videos.results.store import store

pytestmark = pytest.mark.django_db


@pytest.fixture
def rendered(job: Job, upstream: Upstream, sora: ScriptedClient) -> Submission:
    submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    return only(job)


def files(settings: Settings) -> list[Path]:
    """All but the marker."""
    return sorted(
        path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file() and path.name != MARKER
    )


def test_a_stored_video_completes_its_job_with_what_is_in_the_file(
    rendered: Submission, upstream: Upstream, settings: Settings
) -> None:
    store(rendered, upstream)
    job = Job.objects.get()
    rendered.refresh_from_db()
    assert (job.status, job.progress, rendered.state) == ("completed", 100, "stored")
    assert (job.width, job.height, job.result_seconds, job.format) == (64, 48, 1.0, "mp4")
    with job.video.open() as file:
        assert file.read() == clip()
    assert job.file_size == len(clip())
    assert job.sha256 == hashlib.sha256(clip()).hexdigest()
    assert (job.codec, job.result_fps, job.result_audio) == ("h264", 8.0, False)
    assert job.thumbnail.name.endswith(".webp")
    assert len(files(settings)) == 2, "nothing unfinished is left"


def test_a_file_that_is_cut_short_is_fetched_again(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    for broken in (clip()[:-200], clip()[:100], b"<html>not a video</html>"):
        sora.content = broken
        with shifted(timedelta(hours=1)):
            store(rendered, upstream)
        rendered.refresh_from_db()
        assert (rendered.state, Job.objects.get().status) == ("rendered", "processing")
        assert files(settings) == []
    sora.content = b""
    with shifted(timedelta(hours=2)):
        store(rendered, upstream)
    assert Job.objects.get().status == "completed"


def test_a_download_that_fails_is_tried_again_but_not_at_once(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.content = errors.Unavailable("reset")
    store(rendered, upstream)
    rendered.refresh_from_db()
    assert (rendered.state, rendered.attempts) == ("rendered", 1)
    sora.content = b""
    store(rendered, upstream)
    assert Job.objects.get().status == "processing"
    with shifted(timedelta(minutes=2)):
        store(rendered, upstream)
    assert Job.objects.get().status == "completed"


def test_an_expired_file_is_lost_and_stays_paid(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.content = errors.NotFound("Downloads expire after 1 hours.")
    for seconds in (0, 61, 122):
        assert Job.objects.get().status == "processing", "our clock alone loses nothing"
        with shifted(timedelta(hours=2, seconds=seconds)):
            rendered.refresh_from_db()
            store(rendered, upstream)
    job = Job.objects.get()
    rendered.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "result_lost")
    assert (rendered.state, rendered.cost_state) == ("lost", "settled")


def test_a_404_for_a_video_that_is_said_to_be_there_is_tried_again(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.content = errors.NotFound("not ready")
    store(rendered, upstream)
    rendered.refresh_from_db()
    assert (rendered.state, rendered.attempts) == ("rendered", 1)


def test_a_file_that_does_not_come_before_the_deadline_is_lost(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.content = errors.Unavailable("reset")
    for minutes in range(0, 70, 10):
        assert Job.objects.get().status == "processing", minutes
        with worked(settings.JOB_GIVE_UP_AFTER + 60 * minutes):
            rendered.refresh_from_db()
            store(rendered, upstream)
    assert Job.objects.get().error_code == "result_lost"


def test_two_workers_store_once(rendered: Submission, upstream: Upstream, settings: Settings) -> None:
    twin = Submission.objects.get(pk=rendered.pk)
    store(rendered, upstream)
    store(twin, upstream)
    assert Job.objects.get().events.filter(to_state="completed").count() == 1
    assert len(files(settings)) == 2


def test_a_job_cancelled_during_the_download_keeps_no_file(
    rendered: Submission,
    upstream: Upstream,
    sora: ScriptedClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = sora.download

    @contextmanager
    def cancelled_meanwhile(video_id: str, variant: str = "video", **_: object) -> Iterator[Content]:
        with whole(video_id, variant) as content:
            yield content
        if variant == "video":
            cancel(Job.objects.get())

    monkeypatch.setattr(sora, "download", cancelled_meanwhile)
    store(rendered, upstream)
    rendered.refresh_from_db()
    assert (Job.objects.get().status, rendered.state) == ("cancelled", "rendered")
    assert files(settings) == []


def test_a_file_over_the_limit_is_refused(
    rendered: Submission, upstream: Upstream, settings: Settings
) -> None:
    settings.SORA_DOWNLOAD_MAX_BYTES = 100
    store(rendered, upstream)
    assert Job.objects.get().status == "processing"
    assert files(settings) == []


def test_without_an_upstream_thumbnail_there_is_our_own(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.thumbnail = errors.NotFound("no thumbnail")
    store(rendered, upstream)
    picture = Job.objects.get().thumbnail
    assert picture.name.endswith(".jpg")
    with picture.open() as file:
        assert file.read(2) == b"\xff\xd8"


def test_what_crashed_tries_left_behind_goes_by_its_age(
    rendered: Submission, upstream: Upstream, settings: Settings
) -> None:
    folder = Path(settings.MEDIA_ROOT) / "unfinished"
    folder.mkdir(parents=True)
    old, young = folder / "1-old", folder / "1-young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    store(rendered, upstream)
    assert not old.exists()
    assert young.exists(), "another worker may be writing it"


def test_two_who_store_at_once_do_not_touch_each_others_file(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sora.download
    nested = False

    @contextmanager
    def overtaken(video_id: str, variant: str = "video", **_: object) -> Iterator[Content]:
        nonlocal nested
        with whole(video_id, variant) as content:
            if variant == "thumbnail" and not nested:
                nested = True
                with shifted(timedelta(hours=1)):
                    store(Submission.objects.get(pk=rendered.pk), upstream)
            yield content

    monkeypatch.setattr(sora, "download", overtaken)
    store(rendered, upstream)
    job = Job.objects.get()
    assert nested
    assert job.status == "completed"
    with job.video.open() as file:
        assert file.read() == clip()


def test_a_try_that_was_overtaken_does_not_spoil_the_file_that_is_kept(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly() -> Iterator[bytes]:
        yield b"no "
        monkeypatch.undo()
        with shifted(timedelta(hours=1)):
            store(Submission.objects.get(pk=rendered.pk), upstream)
        yield b"video" * 100

    @contextmanager
    def overtaken(*_: object, **__: object) -> Iterator[Content]:
        yield Content("video/mp4", None, slowly())

    monkeypatch.setattr(sora, "download", overtaken)
    store(rendered, upstream)
    with Job.objects.get().video.open() as file:
        assert file.read() == clip()


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_fetch_that_goes_on_keeps_its_lease_but_for_a_cancel(
    rendered: Submission,
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    cancelled: bool,
) -> None:
    due: list[datetime | None] = []

    def slowly() -> Iterator[bytes]:
        for number in range(3):
            if number == 1 and cancelled:
                cancel(rendered.job)
            yield clip()[number::3]
            due.append(only(rendered.job).due_at)

    @contextmanager
    def slow(*_: object, **__: object) -> Iterator[Content]:
        yield Content("video/mp4", None, slowly())

    settings.SORA_DOWNLOAD_MIN_BYTES_PER_SECOND = 0
    seconds = itertools.count(step=6.0)
    monkeypatch.setattr("videos.results.fetch.time.monotonic", lambda: next(seconds))
    monkeypatch.setattr(sora, "download", slow)
    store(rendered, upstream)
    first, second, third = due
    assert first is not None
    assert second is not None
    assert third is not None
    if cancelled:
        assert second == third < first, "it is due, to be dropped"
    else:
        assert first < second < third


def test_a_media_folder_that_cannot_be_written_is_waited_for_and_loses_no_video(
    rendered: Submission, upstream: Upstream, settings: Settings
) -> None:
    Path(settings.MEDIA_ROOT).parent.mkdir(parents=True, exist_ok=True)
    Path(settings.MEDIA_ROOT).write_text("a file in its place")
    store(rendered, upstream)
    for minutes in range(0, 130, 10):
        with worked(settings.JOB_GIVE_UP_AFTER + 60 * minutes):
            rendered.refresh_from_db()
            store(rendered, upstream)
    rendered.refresh_from_db()
    assert (rendered.state, rendered.attempts) == ("rendered", 0)
    Path(settings.MEDIA_ROOT).unlink()
    with worked(settings.JOB_GIVE_UP_AFTER + 10_000):
        store(rendered, upstream)
    assert Job.objects.get().status == "completed"


def test_a_video_that_is_unknown_upstream_is_lost_only_after_two_minutes(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient, make_job: Callable[..., Job]
) -> None:
    # Another of ours, by which the upstream is the one that we know.
    make_job()
    submit_next(upstream)
    del sora.videos[str(rendered.upstream_id)]
    for seconds in (0, 20, 40, 80):
        with shifted(timedelta(seconds=seconds)):
            store(rendered, upstream)
        rendered.refresh_from_db()
        assert rendered.state == "rendered", seconds
    with shifted(timedelta(seconds=200)):
        rendered.refresh_from_db()
        store(rendered, upstream)
    assert Job.objects.get(pk=rendered.job_id).error_code == "result_lost"


def test_a_title_in_another_encoding_is_no_fault_of_the_video(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(clip(96, 64, 2, title="Caf\u00e9").replace("Caf\u00e9".encode(), b"Caf\xe9!"))
    assert probe(path).seconds == 2.0
    assert jpeg_of_first_frame(path)


def test_a_probe_reads_a_video_and_refuses_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(clip(96, 64, 2))
    found = probe(path)
    assert (found.width, found.height, found.seconds, found.format) == (96, 64, 2.0, "mp4")
    for broken in (b"", b"no video", clip(96, 64, 2)[:-500], clip(96, 64, 2)[500:]):
        path.write_bytes(broken)
        with pytest.raises(Unplayable):
            probe(path)
    with pytest.raises(Unplayable):
        jpeg_of_first_frame(path)


def test_the_phase_of_the_video_decides_over_the_text_of_a_404(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.content = errors.NotFound("whatever it says")
    sora.set(str(rendered.upstream_id), Phase.EXPIRED)
    store(rendered, upstream)
    assert Job.objects.get().error_code == "result_lost"
    assert not default_storage.exists("videos")


def _mp4_with_sound(path: Path, seconds: int, sound: int) -> None:
    """A picture of so many seconds, and silence of so many."""
    with av.open(str(path), "w", format="mp4") as container:
        picture = container.add_stream("libx264", rate=8)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        silence = container.add_stream("aac", rate=48_000)
        for number in range(8 * seconds):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        for number in range(48_000 * sound // 1024):
            audio = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
            for plane in audio.planes:
                plane.update(bytes(plane.buffer_size))
            audio.sample_rate, audio.pts, audio.time_base = 48_000, number * 1024, Fraction(1, 48_000)
            container.mux(silence.encode(audio))
        container.mux(silence.encode(None))


def test_a_sound_that_is_longer_than_the_picture_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    _mp4_with_sound(path, 2, 8)
    assert probe(path).seconds == 2.0


def _webm(path: Path, seconds: int, *, begins: int = 0, **options: str) -> None:
    with av.open(str(path), "w", format="webm", options=options) as container:
        picture = container.add_stream("libvpx", rate=8)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for number in range(8 * seconds):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = 8 * begins + number, Fraction(1, 8)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))


def test_a_webm_that_begins_late_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    _webm(path, 2, begins=10)
    assert probe(path).seconds == 2.0


def test_a_webm_without_a_length_is_as_long_as_its_picture(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    _webm(path, 3, live="1")
    with av.open(str(path)) as container:
        assert container.duration is None
    assert probe(path).seconds == 3.0


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_file_that_was_cut_short_is_refused_though_its_index_is_there(tmp_path: Path, share: float) -> None:
    path = tmp_path / "clip"
    _webm(path, 8)
    whole = path.read_bytes()
    assert probe(path).seconds == 8.0
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(Unplayable):
        probe(path)


def test_what_is_not_as_it_was_submitted_is_said(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient, api: Client
) -> None:
    sora.content = clip(64, 48, 1)
    store(rendered, upstream)
    result = api.get(f"/api/v1/videos/{rendered.job_id}").json()["data"]["result"]
    assert result["differences"] == [
        {"field": "duration", "submitted": 4.0, "found": 1.0},
        {"field": "size", "submitted": "1280x720", "found": "64x48"},
    ]
    assert Job.objects.get(pk=rendered.job_id).status == "completed"


@pytest.mark.parametrize(
    ("seconds", "size", "named"),
    [
        (4.4, "1280x720", []),
        (4.6, "1280x720", ["duration"]),
        (4.0, "1280x704", ["size"]),
        (0.0, "1280x720", ["duration"]),
    ],
)
def test_what_encoders_round_is_no_difference(
    rendered: Submission, seconds: float, size: str, named: list[str]
) -> None:
    width, _, height = size.partition("x")
    job = Job(result_seconds=seconds, width=int(width), height=int(height))
    assert [each["field"] for each in differences(job, rendered)] == named


@pytest.mark.parametrize(
    ("asked", "fps", "audio", "named"),
    [
        ({"fps": 24, "audio": True}, 23.976, True, []),
        ({"fps": 24, "audio": True}, 30.0, False, ["fps", "audio"]),
        ({"fps": 24, "audio": False}, 23.4, True, ["fps", "audio"]),
        ({"fps": None, "audio": None}, 30.0, True, []),
        ({}, 30.0, False, []),
        # Kept by a version that did not look.
        ({"fps": 24, "audio": True}, None, None, []),
    ],
)
def test_frames_and_sound_are_compared_if_they_were_asked_for(
    rendered: Submission,
    asked: dict[str, object],
    fps: float | None,
    audio: bool | None,
    named: list[str],
) -> None:
    rendered.request = rendered.request | asked
    job = Job(result_seconds=4.0, width=1280, height=720, result_fps=fps, result_audio=audio)
    assert [each["field"] for each in differences(job, rendered)] == named
