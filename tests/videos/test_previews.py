"""Posters, sheets and moving previews are made of what is completed, and never harm it."""

import io
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import av
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from PIL import Image
from pytest_django import Settings

from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from tests.videos.test_links import Clock, clock, got, opened
from tests.videos.test_submit import only
from upstreams.clock import shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos import tasks
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Preview
from videos.previews import make
from videos.previews.frames import draw
from videos.previews.make import NotDrawn, make_next
from videos.previews.vtt import vtt
from videos.results import complete as completing
from videos.results.media import MARKER
from videos.results.store import store
from videos.retention.removal import remove_result
from videos.retention.stored import stored_files, unused

pytestmark = pytest.mark.django_db

__all__ = ["clock"]

URL = "/api/v1/videos"
PREVIEWS = ("poster", "posterWebp", "spritesheet", "vtt", "preview")


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def complete(make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient) -> Callable[..., Job]:
    def complete(content: bytes = b"") -> Job:
        job = make_job()
        submit_next(upstream)
        sora.content = content
        sora.complete(str(only(job).upstream_id))
        Provider.objects.update(sweep_due_at=None)
        sweep(upstream)
        store(only(job), upstream)
        job.refresh_from_db()
        assert job.status == "completed"
        return job

    return complete


def result(api: Client, job: Job) -> dict[str, Any]:
    return dict(api.get(f"{URL}/{job.pk}").json()["data"]["result"])


def fetched(api: Client, job: Job, variant: str) -> tuple[str, bytes]:
    answer = api.get(f"{URL}/{job.pk}/content?variant={variant}")
    return str(answer["Content-Type"]), content_of(answer)


def content_of(answer: Any) -> bytes:
    assert answer.status_code == 200
    return got(answer)[1] if answer.streaming else answer.content


def durations(picture: Any) -> int:
    """How long it moves, in milliseconds."""
    passed = 0
    for number in range(picture.n_frames):
        picture.seek(number)
        picture.load()
        passed += picture.info["duration"]
    return passed


def drawn(path: Path) -> Any:
    """A picture that was drawn, with its file closed."""
    return Image.open(io.BytesIO(path.read_bytes()))


def names(media: Path) -> list[str]:
    found = (path for path in media.rglob("*") if path.is_file() and path.name != MARKER)
    return sorted(str(path.relative_to(media)) for path in found)


@pytest.mark.parametrize("together", [True, False])
def test_pictures_are_made_of_a_completed_video(
    api: Client, complete: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, together: bool, media: Path
) -> None:
    if not together:
        monkeypatch.setattr(completing, "_write", lambda some: set())
    job = complete(clip(640, 360, 2))
    before = api.get(f"{URL}/{job.pk}")
    for variant in PREVIEWS:
        assert result(api, job)[f"{variant}Url"] is None
        assert api.get(f"{URL}/{job.pk}/content?variant={variant}").status_code == 400
    tasks.make_previews()
    after = api.get(f"{URL}/{job.pk}", headers={"if-none-match": before["ETag"]})
    assert after.status_code == 200, "a caller who asks again sees them"
    shown = result(api, job)
    assert api.get(URL).json()["data"][0]["result"] == shown
    kind, poster = fetched(api, job, "poster")
    # The upstream's own picture could not be opened, so it is the first frame.
    assert (kind, Image.open(io.BytesIO(poster)).size) == ("image/jpeg", (640, 360))
    kind, small = fetched(api, job, "posterWebp")
    assert (kind, Image.open(io.BytesIO(small)).size) == ("image/webp", (640, 360))
    assert len(small) < len(poster)
    kind, moving = fetched(api, job, "preview")
    picture = Image.open(io.BytesIO(moving))
    assert (kind, picture.size) == ("image/webp", (320, 180))
    assert durations(picture) == 2_000
    kind, sheet = fetched(api, job, "spritesheet")
    assert (kind, Image.open(io.BytesIO(sheet)).size) == ("image/jpeg", (1280, 90))
    kind, text = fetched(api, job, "vtt")
    assert kind == "text/vtt; charset=utf-8"
    cues = re.findall(r"^(\S+) --> (\S+)\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)$", text.decode(), re.MULTILINE)
    assert len(cues) == 8
    assert cues[0][:2] == ("00:00:00.000", "00:00:00.250")
    assert cues[-1][:2] == ("00:00:01.750", "00:00:02.000")
    assert [tuple(map(int, cue[3:])) for cue in cues] == [(160 * n, 0, 160, 90) for n in range(8)]
    # All of them open for a player that has no key.
    for variant in PREVIEWS:
        assert len(content_of(Client().get(shown[f"{variant}Url"]))) > 100
    assert {opened(cue[2]) for cue in cues} == {(200, sheet)}
    assert not list(unused(stored_files()))
    assert [name for name in names(media) if name.startswith("unfinished/")] == []


def test_a_link_to_the_track_opens_the_sheet_no_longer_than_itself(
    api: Client, complete: Callable[..., Job], clock: Clock, settings: Settings
) -> None:
    settings.RESULT_URL_TTL = 900
    job = complete()
    make_next()
    link = result(api, job)["vttUrl"]
    clock.now += 800
    sheet = Client().get(link).content.decode().splitlines()[3].partition("#")[0]
    assert opened(sheet)[0] == 200
    clock.now += 100
    assert opened(link) == opened(sheet) == (403, "link_expired")


def test_what_is_not_completed_after_all_has_no_pictures(
    make_job: Callable[..., Job], complete: Callable[..., Job], upstream: Upstream
) -> None:
    complete()
    Preview.objects.all().delete()
    Preview.objects.create(job=make_job(), due_at=timezone.now() - timedelta(seconds=1))
    assert [make_next(), make_next()] == [1, 0]
    assert Preview.objects.get().tries == 1


def test_each_tile_shows_its_moment(tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(clip(64, 48, 2))
    layout = draw(video, 2.0, b"", str(tmp_path / "drawn"))
    sheet = drawn(tmp_path / "drawn.sheet.jpg")
    # Of every second frame, whose colour differs from that of the one before.
    colours = [
        sheet.crop((n * layout.width, 0, (n + 1) * layout.width, layout.height))
        .resize((1, 1))
        .getpixel((0, 0))
        for n in range(layout.count)
    ]
    expected = []
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % 2 == 0:
                expected.append(frame.to_image().getpixel((32, 24)))
    for colour, other in zip(colours, expected, strict=True):
        assert max(abs(one - two) for one, two in zip(colour, other, strict=True)) < 12


@pytest.mark.parametrize(
    ("shape", "seconds", "tile", "count", "interval"),
    [
        ((64, 48), 1, (64, 48), 4, 0.25),
        ((360, 640), 1, (90, 160), 4, 0.25),
        ((640, 360), 30, (160, 90), 100, 0.3),
        ((16, 1024), 1, (2, 160), 4, 0.25),
    ],
)
def test_a_sheet_is_bounded_whatever_the_video(
    tmp_path: Path, shape: tuple[int, int], seconds: int, tile: tuple[int, int], count: int, interval: float
) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(clip(*shape, seconds))
    layout = draw(video, float(seconds), b"", str(tmp_path / "drawn"))
    assert (layout.width, layout.height) == tile
    assert (layout.count, layout.interval) == (count, interval)
    sheet = drawn(tmp_path / "drawn.sheet.jpg")
    rows = -(-count // 10)
    assert sheet.size == (min(10, count) * tile[0], rows * tile[1])
    assert durations(drawn(tmp_path / "drawn.preview.webp")) <= 3_000


@pytest.mark.parametrize("seconds", [0.0, 0.01, 5.0, 1e6])
def test_a_length_that_is_wrong_does_no_harm(tmp_path: Path, seconds: float) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(clip())
    layout = draw(video, seconds, b"", str(tmp_path / "drawn"))
    assert 1 <= layout.count <= 100


def picture_of(size: tuple[int, int], kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        (picture_of((300, 200), "WEBP"), (300, 200)),
        (picture_of((300, 200), "PNG"), (300, 200)),
        (picture_of((2560, 1440), "JPEG"), (1280, 720)),
        # None of these is opened, and the first frame takes its place.
        (b"RIFF....WEBP", (64, 48)),
        (picture_of((300, 200), "JPEG")[:200], (64, 48)),
        (picture_of((300, 200), "GIF"), (64, 48)),
        (picture_of((5000, 5000), "PNG"), (64, 48)),
        (b"", (64, 48)),
    ],
)
def test_the_upstreams_own_picture_is_the_poster_if_it_can_be_opened(
    tmp_path: Path, picture: bytes, size: tuple[int, int]
) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(clip())
    draw(video, 1.0, picture, str(tmp_path / "drawn"))
    assert drawn(tmp_path / "drawn.poster.jpg").size == size


def test_a_video_of_which_no_pictures_can_be_made_stays_completed(
    api: Client, complete: Callable[..., Job], media: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = complete()
    shown = result(api, job)
    Path(job.video.path).write_bytes(b"\0" * len(clip()))
    for turn in range(5):
        with shifted(timedelta(hours=turn)):
            tasks.make_previews()
    preview = Preview.objects.get()
    assert (preview.tries, preview.due_at) == (3, None)
    assert caplog.text.count("No previews of job") == 3
    assert {**result(api, job), **{name: shown[name] for name in shown if name.endswith("Url")}} == shown
    assert len(names(media)) == 2, "nothing is left of the tries"


def test_what_takes_too_long_is_ended(
    complete: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    complete()
    run = subprocess.run

    def slow(command: list[str], **options: Any) -> Any:
        return run([sys.executable, "-c", "import time; time.sleep(60)"], **options)

    monkeypatch.setattr(make, "_SECONDS", 0.2)
    monkeypatch.setattr(make.subprocess, "run", slow)
    assert make_next() == 1
    assert "it took longer than 0.2 seconds" in caplog.text
    assert make_next() == 0, "it waits for its next try"


def test_a_decoder_that_crashes_ends_only_itself(
    complete: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = complete()
    run = subprocess.run
    seen: list[Any] = []

    def crash(command: list[str], **options: Any) -> Any:
        seen.append((command, options))
        return run([sys.executable, "-c", "import os; os.abort()"], **options)

    monkeypatch.setattr(make.subprocess, "run", crash)
    monkeypatch.setenv("SECRET_OF_OURS", "hidden")
    assert make_next() == 1
    assert "exit status -6" in caplog.text
    job.refresh_from_db()
    assert job.status == "completed"
    # It is given nothing of ours but the file.
    assert list(seen[0][1]["env"]) == ["PYTHONPATH"]


def test_the_process_that_decodes_knows_no_django(settings: Settings) -> None:
    code = "import sys, videos.previews.frames; print([name for name in sys.modules if name == 'django'])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(settings.BASE_DIR)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert found.stdout.strip() == "[]"


def test_nothing_is_made_while_the_media_cannot_be_used(complete: Callable[..., Job], media: Path) -> None:
    complete()
    marker = (media / MARKER).read_text()
    (media / MARKER).unlink()
    assert make_next() == 0
    assert Preview.objects.get().tries == 0
    (media / MARKER).write_text(marker)
    assert make_next() == 1
    assert Preview.objects.get().due_at is None


def test_pictures_of_files_that_were_removed_are_not_kept(
    complete: Callable[..., Job],
    media: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    first, second = complete(), complete()
    with django_capture_on_commit_callbacks(execute=True):
        remove_result(first)
    draw_it = make._draw

    def remove_meanwhile(job: Job, prefix: str) -> Any:
        layout = draw_it(job, prefix)
        with django_capture_on_commit_callbacks(execute=True):
            remove_result(job)
        return layout

    monkeypatch.setattr(make, "_draw", remove_meanwhile)
    assert [make_next(), make_next(), make_next()] == [1, 1, 0]
    assert names(media) == []
    assert list(Preview.objects.values_list("job", "poster", "due_at").order_by("job")) == [
        (first.pk, "", None),
        (second.pk, "", None),
    ]


def test_a_removal_removes_the_pictures_as_well(
    api: Client, complete: Callable[..., Job], media: Path, django_capture_on_commit_callbacks: Any
) -> None:
    job = complete()
    make_next()
    assert len(names(media)) == 6
    with django_capture_on_commit_callbacks(execute=True):
        shown = api.delete(f"{URL}/{job.pk}/content").json()["data"]["result"]
    assert names(media) == []
    assert {value for name, value in shown.items() if name.endswith("Url")} == {None}
    for variant in PREVIEWS:
        assert api.get(f"{URL}/{job.pk}/content?variant={variant}").status_code == 410


def test_a_crash_after_they_are_kept_leaves_files_that_are_swept_away(
    complete: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, media: Path
) -> None:
    complete()

    class Died(BaseException):
        """The process was killed."""

    def die(*_: Any) -> bool:
        raise Died

    with monkeypatch.context() as crashing:
        crashing.setattr(make, "_take", die)
        with pytest.raises(Died):
            make_next()
    left = list(unused(stored_files()))
    assert len(left) == 4
    with shifted(timedelta(minutes=3)):
        assert make_next() == 1
    assert {file.name for file in unused(stored_files())} == {file.name for file in left}


def test_a_file_at_which_workers_die_is_tried_three_times(
    complete: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    complete()
    drawn: list[str] = []

    class Died(BaseException):
        """The process was killed."""

    def die(job: Job, prefix: str) -> Any:
        drawn.append(prefix)
        raise Died

    monkeypatch.setattr(make, "_draw", die)
    for turn in range(6):
        with shifted(timedelta(minutes=3 * turn)), suppress(Died):
            make_next()
    assert len(drawn) == 3
    assert Preview.objects.get().due_at is None


@pytest.mark.parametrize(
    "error", [ValueError("no layout"), KeyError("count"), NotDrawn("none"), OSError(28, "full")]
)
def test_whatever_goes_wrong_with_one_the_next_is_made(
    complete: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    first, second = complete(), complete()
    draw_it = make._draw

    def fail(job: Job, prefix: str) -> Any:
        if job.pk == first.pk:
            raise error
        return draw_it(job, prefix)

    monkeypatch.setattr(make, "_draw", fail)
    tasks.make_previews()
    assert Preview.objects.get(job=second).poster
    assert not Preview.objects.get(job=first).poster


def test_two_workers_do_not_draw_the_same(
    complete: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    complete()
    drawn: list[str] = []

    def draw_once(job: Job, prefix: str) -> Any:
        drawn.append(prefix)
        if len(drawn) == 1:
            assert make_next() == 0
        raise NotDrawn("enough")

    monkeypatch.setattr(make, "_draw", draw_once)
    make_next()
    assert len(drawn) == 1


def test_they_can_be_switched_off_and_made_later(
    api: Client, complete: Callable[..., Job], settings: Settings, media: Path
) -> None:
    settings.RESULT_PREVIEWS = False
    job = complete()
    assert not Preview.objects.exists()
    tasks.make_previews()
    assert result(api, job)["posterUrl"] is None
    out = StringIO()
    call_command("media", "previews", stdout=out)
    assert out.getvalue() == "Previews that are made now: 1.\n"
    tasks.make_previews()
    assert result(api, job)["posterUrl"] is not None
    call_command("media", "previews", stdout=(again := StringIO()))
    assert again.getvalue() == "Previews that are made now: 0.\n"
    (media / str(Preview.objects.get().poster.name)).unlink()
    assert api.get(f"{URL}/{job.pk}/content?variant=poster").json()["error"]["code"] == "file_missing"
    call_command("media", "previews", stdout=StringIO())
    tasks.make_previews()
    assert fetched(api, job, "poster")[0] == "image/jpeg"


def test_a_look_for_nothing_is_one_statement(
    complete: Callable[..., Job], django_assert_num_queries: Any
) -> None:
    complete()
    make_next()
    with django_assert_num_queries(1):
        assert make_next() == 0


@pytest.mark.postgres
def test_the_look_uses_the_index_of_those_that_wait(complete: Callable[..., Job]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN SELECT 1 FROM videos_preview WHERE due_at <= now() ORDER BY due_at LIMIT 1")
        assert "preview_due" in str(cursor.fetchall())


def test_a_track_of_a_long_video_has_hours() -> None:
    layout = json.loads('{"columns": 2, "count": 3, "width": 160, "height": 90, "interval": 4000.5}')
    text = vtt(layout, "https://here.test/sheet?a=b&c=d", 12_000.25)
    assert text.splitlines()[8:10] == [
        "02:13:21.000 --> 03:20:00.250",
        "https://here.test/sheet?a=b&c=d#xywh=0,90,160,90",
    ]


def test_nothing_of_ours_is_left_open(complete: Callable[..., Job], media: Path) -> None:
    complete()
    make_next()
    links = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert not [link for link in links if link.startswith(str(media))]


def test_a_service_that_may_have_less_draws_with_less(complete: Callable[..., Job]) -> None:
    """As in a container whose memory is limited by its supervisor."""
    complete()
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    code = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_CPU, (20, 20));"
        "runpy.run_module('videos.previews.frames', run_name='__main__')"
    )
    job = Job.objects.get()
    done = subprocess.run(
        [sys.executable, "-c", code, job.video.path, "1", "", f"{job.video.path}.drawn"],
        cwd=Path(make.__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (soft, hard) == resource.getrlimit(resource.RLIMIT_CPU)
