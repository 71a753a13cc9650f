"""OpenAI's own SDK works against the simulator unchanged."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from PIL import Image

from simulator.clips.render import render
from simulator.clips.spec import ClipSpec
from tests.simulator.process import Simulator

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


@pytest.fixture
def client(sim: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sim.url, api_key="sk-test") as client:
        yield client


def picture(size: tuple[int, int], kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, (200, 80, 40)).save(data, kind)
    return data.getvalue()


def test_create_answers_a_queued_video_with_the_defaults_filled_in(client: openai.OpenAI) -> None:
    video = client.videos.create(prompt="A heron")
    assert (video.status, video.progress, video.model) == ("queued", 0, "sora-2")
    assert (video.seconds, video.size, video.prompt) == ("4", "720x1280", "A heron")
    assert int(video.id.removeprefix("video_")[:8], 16) == video.created_at
    assert len(video.id) == len("video_") + 48
    assert (video.completed_at, video.expires_at, video.error, video.remixed_from_video_id) == (None,) * 4


def test_create_and_poll_ends_with_a_completed_video(client: openai.OpenAI) -> None:
    video = client.videos.create_and_poll(
        prompt="A heron", model="sora-2-pro", seconds="8", size="1792x1024", poll_interval_ms=20
    )
    assert (video.status, video.progress) == ("completed", 100)
    assert video.completed_at is not None
    assert video.expires_at == video.completed_at + 3600


def test_the_server_can_set_the_pace_of_polling(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0.2", "--poll-after-ms", "30")
    with openai.OpenAI(base_url=simulator.url, api_key="k") as client:
        video = client.videos.create_and_poll(prompt="A heron")
    assert video.status == "completed"
    counts = simulator.call("GET", "/_simulator/requests").json()
    assert counts["received"]["retrieve"] >= 2


def test_a_list_is_walked_over_its_pages(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0")
    with openai.OpenAI(base_url=simulator.url, api_key="k") as client:
        made = [client.videos.create(prompt=f"Heron {number}").id for number in range(5)]
        assert [video.id for video in client.videos.list(limit=2, order="asc")] == made
        assert [video.id for video in client.videos.list(limit=2, order="desc")] == made[::-1]
    assert simulator.call("GET", "/_simulator/requests").json()["received"]["list"] == 6


def test_all_variants_of_the_content_are_downloaded(client: openai.OpenAI, tmp_path: Path) -> None:
    video = client.videos.create_and_poll(prompt="A heron", poll_interval_ms=20)
    with client.videos.with_streaming_response.download_content(video.id) as clip:
        clip.stream_to_file(tmp_path / "heron.mp4")
        assert clip.headers["content-type"] == "video/mp4"
    assert (tmp_path / "heron.mp4").read_bytes()[4:8] == b"ftyp"
    thumbnail = client.videos.download_content(video.id, variant="thumbnail")
    assert thumbnail.response.headers["content-type"] == "image/webp"
    sheet = client.videos.download_content(video.id, variant="spritesheet")
    assert sheet.response.headers["content-type"] == "image/jpeg"


def test_a_remix_names_its_source_and_inherits_its_form(client: openai.OpenAI) -> None:
    source = client.videos.create_and_poll(
        prompt="A heron", model="sora-2-pro", seconds="12", size="1280x720", poll_interval_ms=20
    )
    remix = client.videos.remix(source.id, prompt="A heron in snow")
    assert remix.remixed_from_video_id == source.id
    assert (remix.model, remix.seconds, remix.size) == ("sora-2-pro", "12", "1280x720")


def test_edits_and_extensions_take_an_id_by_its_bracketed_name(client: openai.OpenAI) -> None:
    source = client.videos.create_and_poll(prompt="A heron", size="1280x720", poll_interval_ms=20)
    by_id = {"extra_body": {"video": {"id": source.id}}}
    unset = openai.omit
    edit = client.videos.edit(prompt="At night", video=unset, **by_id)  # type: ignore[arg-type]
    assert (edit.seconds, edit.size) == ("4", "1280x720")
    longer = client.videos.extend(prompt="It flies", seconds="20", video=unset, **by_id)  # type: ignore[arg-type]
    assert longer.seconds == "24"


def test_edits_characters_and_extensions_take_uploaded_clips(client: openai.OpenAI, tmp_path: Path) -> None:
    render(ClipSpec(str(tmp_path / "clip"), "A heron", "1", 1280, 720, 2, os.getppid()))
    upload = ("clip.mp4", (tmp_path / "clip.mp4").read_bytes(), "video/mp4")
    edit = client.videos.edit(prompt="At night", video=upload, extra_body={"model": "sora-2"})
    assert (edit.seconds, edit.size) == ("2", "1280x720")
    with pytest.raises(openai.BadRequestError, match="Missing required parameter: 'model'"):
        client.videos.edit(prompt="At night", video=upload)
    assert client.videos.extend(prompt="Then it flies", seconds="4", video=upload).seconds == "6"
    character = client.videos.create_character(name="Heron", video=upload)
    assert character.id is not None
    assert client.videos.get_character(character.id).name == "Heron"
    asked = {"characters": [{"id": character.id}]}
    assert client.videos.create(prompt="Heron at dusk", extra_body=asked).id
    with pytest.raises(openai.BadRequestError, match="must contain the character's name 'Heron'"):
        client.videos.create(prompt="A bird at dusk", extra_body=asked)
    with pytest.raises(openai.BadRequestError, match="2 to 4 seconds"):
        client.videos.create_character(name="Heron", video=("clip.mp4", b"no clip", "video/mp4"))


def test_a_reference_image_must_be_exactly_of_the_size(client: openai.OpenAI) -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        fitting = (f"a.{kind.lower()}", picture((1280, 720), kind), f"image/{kind.lower()}")
        assert client.videos.create(prompt="A heron", size="1280x720", input_reference=fitting).id
    with pytest.raises(openai.BadRequestError) as refused:
        client.videos.create(
            prompt="A heron", size="1280x720", input_reference=("a.png", picture((720, 1280)), "image/png")
        )
    assert refused.value.body == {
        "message": "Inpaint image must match the requested width and height",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    with pytest.raises(openai.BadRequestError, match="unsupported mimetype"):
        client.videos.create(prompt="A heron", input_reference=picture((720, 1280)))


def test_delete_answers_its_own_object_and_the_video_is_gone(client: openai.OpenAI) -> None:
    video = client.videos.create_and_poll(prompt="A heron", poll_interval_ms=20)
    gone = client.videos.delete(video.id)
    assert (gone.id, gone.object, gone.deleted) == (video.id, "video.deleted", True)
    for call in (client.videos.retrieve, client.videos.download_content, client.videos.delete):
        with pytest.raises(openai.NotFoundError, match=f"Video with id '{video.id}' not found"):
            call(video.id)


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
def test_each_error_has_its_class(
    client: openai.OpenAI, sim: Simulator, status: int, raised: type[openai.APIStatusError]
) -> None:
    sim.arm("error", operation="create", status=status, code="because", message="No.")
    with pytest.raises(raised, match=r"No\.") as refused:
        client.with_options(max_retries=0).videos.create(prompt="A heron")
    assert refused.value.status_code == status
    assert refused.value.code == "because"
    assert refused.value.request_id is not None


def test_the_sdk_pays_three_times_for_one_dropped_answer(client: openai.OpenAI, sim: Simulator) -> None:
    sim.arm("created_then_drop", times=3)
    with pytest.raises(openai.APIConnectionError):
        client.videos.create(prompt="One heron, please")
    entries = sim.paid("One heron, please")
    assert len({entry["id"] for entry in entries}) == 3
    assert [entry["headers"]["x-stainless-retry-count"] for entry in entries] == ["0", "1", "2"]
    assert [entry["price"] for entry in entries] == ["0.40"] * 3
