"""The clips are real: of the size and length asked for, moving, and each its own."""

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from simulator.clips.render import render
from simulator.clips.scene import Scene
from simulator.clips.spec import ClipSpec
from tests.simulator.process import Simulator, eventually
from tests.simulator.test_openai_sdk import picture


def frames(path: Path) -> list[Image.Image]:
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean over all pixels and channels, of 255."""
    channels = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean
    return sum(channels) / len(channels)


def _spec(folder: Path, name: str = "clip", **changes: object) -> ClipSpec:
    fields: dict[str, object] = {
        "prompt": "A heron",
        "video_id": name,
        "width": 320,
        "height": 180,
        "server": os.getppid(),
        "seconds": 2,
    }
    return ClipSpec(stem=str(folder / name), **fields | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "size", "seconds"), [("sora-2", "1280x720", "8"), ("sora-2-pro", "1024x1792", "4")]
)
def test_a_clip_has_exactly_the_size_and_length_asked_for(
    start: Callable[..., Simulator], tmp_path: Path, model: str, size: str, seconds: str
) -> None:
    simulator = start("--render-seconds", "0")
    video_id = simulator.finished(simulator.made(model=model, size=size, seconds=seconds))["id"]
    answer = simulator.content(video_id)
    assert answer.headers["content-type"] == "video/mp4"
    assert int(answer.headers["content-length"]) == len(answer.content)
    # The index comes first, so that a player can begin at once.
    assert answer.content.index(b"moov") < answer.content.index(b"mdat")
    path = tmp_path / "clip.mp4"
    path.write_bytes(answer.content)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert f"{stream.width}x{stream.height}" == size
        assert container.duration is not None
        assert container.duration / av.time_base == int(seconds)
        assert stream.frames == int(seconds) * 24
    thumbnail = Image.open(io.BytesIO(simulator.content(video_id, variant="thumbnail").content))
    assert thumbnail.format == "WEBP"
    width, height = map(int, size.split("x"))
    assert thumbnail.width / thumbnail.height == pytest.approx(width / height, rel=0.01)
    sheet = Image.open(io.BytesIO(simulator.content(video_id, variant="spritesheet").content))
    assert sheet.format == "JPEG"


def test_a_clip_moves_all_the_time(tmp_path: Path) -> None:
    render(_spec(tmp_path))
    shown = frames(tmp_path / "clip.mp4")
    assert len(shown) == 48
    assert all(difference(one, shown[number + 12]) > 0.3 for number, one in enumerate(shown[:-12:12]))


def test_two_prompts_and_two_jobs_of_one_prompt_differ(tmp_path: Path) -> None:
    for name, prompt in (("one", "A heron"), ("two", "A paper boat"), ("three", "A heron")):
        render(_spec(tmp_path, name, prompt=prompt, seconds=1))
    one, two, three = (frames(tmp_path / f"{name}.mp4")[0] for name in ("one", "two", "three"))
    assert difference(one, two) > 10
    assert difference(one, three) > 10


def test_a_clip_shows_its_prompt() -> None:
    with_text = Scene("A heron in the reeds", "1", 320, 180)
    box = with_text._caption.getbbox()
    assert box is not None
    letters = with_text._caption.convert("RGB").crop(box)
    assert len(letters.getcolors(100_000) or []) > 10


@pytest.mark.parametrize("prompt", ["x" * 32_000, "word " * 6400, "海 " * 500, "\0\n\r\t", "🦢" * 100])
def test_any_prompt_fits_into_the_picture(prompt: str) -> None:
    scene = Scene(prompt, "1", 320, 180)
    assert scene._caption.width <= 320
    assert scene._caption.height <= 180


def test_a_reference_image_is_the_first_frame(start: Callable[..., Simulator], tmp_path: Path) -> None:
    simulator = start("--render-seconds", "0")
    image = picture((1280, 720))
    form = {
        "prompt": (None, "A heron"),
        "size": (None, "1280x720"),
        "input_reference": ("a.png", image, "image/png"),
    }
    video_id = simulator.call("POST", "/v1/videos", files=form).json()["id"]
    simulator.finished(video_id)
    (tmp_path / "clip.mp4").write_bytes(simulator.content(video_id).content)
    shown = frames(tmp_path / "clip.mp4")
    assert difference(shown[0], Image.open(io.BytesIO(image))) < 4
    assert difference(shown[-1], shown[0]) > 10


def test_a_reference_that_breaks_off_spoils_no_render(tmp_path: Path) -> None:
    for number, data in enumerate((picture((320, 180), "JPEG")[:700], b"no image")):
        (tmp_path / "a.ref").write_bytes(data)
        render(_spec(tmp_path, f"clip{number}", reference=str(tmp_path / "a.ref"), seconds=1))
        assert len(frames(tmp_path / f"clip{number}.mp4")) == 24


def test_a_render_ends_with_the_server_that_asked_for_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        render(_spec(tmp_path, server=os.getpid()))
    assert list(tmp_path.iterdir()) == []


def test_a_render_leaves_nothing_but_its_three_files(tmp_path: Path) -> None:
    render(_spec(tmp_path, seconds=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.jpg", "clip.mp4", "clip.webp"]


def test_the_tiny_mode_serves_one_real_clip_for_all_jobs(sim: Simulator, tmp_path: Path) -> None:
    one, two = sim.content(sim.made()).content, sim.content(sim.made(seconds="20")).content
    assert one == two
    (tmp_path / "clip.mp4").write_bytes(one)
    shown = frames(tmp_path / "clip.mp4")
    assert (len(shown), shown[0].size) == (24, (64, 64))


def test_two_render_processes_make_each_clip_once(start: Callable[..., Simulator]) -> None:
    simulator = start("--renders", "2", "--render-seconds", "0")
    media = simulator.state.with_name("state.sqlite3.media")
    video_id = simulator.finished(simulator.made(size="1280x720"))["id"]
    for path in media.iterdir():
        path.unlink()
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: simulator.content(video_id), range(4)))
    assert {len(answer.content) for answer in answers} == {int(answers[0].headers["content-length"])}
    assert len(list(media.iterdir())) == 3
    simulator.finished(simulator.made(size="1280x720"))
    assert simulator.end() == ""


def test_a_clip_that_cannot_be_rendered_fails_its_job(
    start: Callable[..., Simulator], tmp_path: Path
) -> None:
    simulator = start("--render-seconds", "0")
    media = simulator.state.with_name("state.sqlite3.media")
    media.rename(tmp_path / "gone")
    video_id = simulator.made(size="1280x720")
    eventually(lambda: simulator.retrieve(video_id)["status"] == "failed", "the job has failed")
    assert simulator.retrieve(video_id)["error"]["code"] == "server_error"
    assert "could not be rendered" in simulator.end()
