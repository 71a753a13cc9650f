"""openai-python, unchanged, against our own `/v1/videos`."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import openai
import pytest
from django.test import Client
from PIL import Image

from accounts.models import IdempotencyKey
from tests.services import ROOT
from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, ReferenceImage
from videos.previews.make import make_next
from videos.results.store import store

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning"),
]


class Wire(httpx.BaseTransport):
    """Hands requests to the application.

    `unsent`: how many of the next requests do not arrive; `lost`: how many of the next answers. `after` runs
    once a request was answered.
    """

    def __init__(self) -> None:
        self._client = Client(raise_request_exception=False)
        self.requests: list[httpx.Request] = []
        self.lost = 0
        self.unsent = 0
        self.after: Callable[[], None] = lambda: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.unsent:
            self.unsent -= 1
            raise httpx.ConnectError("no connection")
        answer = self._carried_out(request)
        self.after()
        if self.lost:
            self.lost -= 1
            raise httpx.ReadTimeout("no answer")
        return answer

    def _carried_out(self, request: httpx.Request) -> httpx.Response:
        # Not over WSGI, at whose ends Django closes connections, and with them the transaction of a test.
        answer: Any = self._client.generic(
            request.method,
            request.url.raw_path.decode(),
            request.read(),
            request.headers.get("content-type", ""),
            headers={name: value for name, value in request.headers.items() if name != "content-type"},
        )
        return httpx.Response(answer.status_code, headers=list(answer.items()), content=b"".join(answer))


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def client(
    secret: str, upstream: Upstream, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> Iterator[openai.OpenAI]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    http = httpx.Client(transport=wire)
    with openai.OpenAI(base_url="http://testserver/v1", api_key=secret, http_client=http) as client:
        yield client


def finish(upstream: Upstream) -> None:
    """Renders and stores whatever waits."""
    sora: Any = upstream.client
    while submit_next(upstream):
        pass
    for video in list(sora.videos.values()):
        if video.phase != "completed":
            sora.complete(video.id)
    sweep(upstream)
    for job in Job.objects.filter(status="processing"):
        store(job.submissions.get(), upstream)


def picture(width: int, height: int) -> tuple[str, bytes, str]:
    data = io.BytesIO()
    Image.new("RGB", (width, height), (200, 80, 40)).save(data, "PNG")
    return "a.png", data.getvalue(), "image/png"


def test_a_create_has_the_shape_and_the_defaults_of_openai(client: openai.OpenAI) -> None:
    video = client.videos.create(prompt="A heron")
    job = Job.objects.get()
    assert video.id == f"video_{job.pk.hex}"
    assert (video.object, video.status, video.progress, video.model) == ("video", "queued", 0, "sora-2")
    assert (video.seconds, video.size, video.prompt) == ("4", "720x1280", "A heron")
    assert video.created_at == int(job.created_at.timestamp())
    assert (video.completed_at, video.expires_at, video.error, video.remixed_from_video_id) == (None,) * 4
    assert not video.model_extra
    assert (job.estimated_cost, job.api_key_id) is not None


def test_a_video_is_created_polled_and_downloaded(
    client: openai.OpenAI, wire: Wire, upstream: Upstream
) -> None:
    wire.after = lambda: finish(upstream)
    video = client.videos.create_and_poll(prompt="A heron", model="sora-2-pro", seconds="8", size="1792x1024")
    assert (video.status, video.progress, video.seconds, video.size) == ("completed", 100, "8", "1792x1024")
    assert video.completed_at is not None
    with client.videos.with_streaming_response.download_content(video.id) as answer:
        assert answer.headers["content-type"] == "video/mp4"
        assert b"".join(answer.iter_bytes()) == clip()


def test_the_service_sets_the_pace_of_polling(client: openai.OpenAI) -> None:
    video = client.videos.create(prompt="A heron")
    answer = client.videos.with_raw_response.retrieve(video.id)
    assert int(answer.headers["openai-poll-after-ms"]) >= 1


def test_a_list_is_walked_over_its_pages(client: openai.OpenAI, wire: Wire) -> None:
    made = [client.videos.create(prompt=f"Heron {number}").id for number in range(5)]
    wire.requests.clear()
    assert [video.id for video in client.videos.list(limit=2, order="asc")] == made
    assert [video.id for video in client.videos.list(limit=2, order="desc")] == made[::-1]
    assert [video.id for video in client.videos.list()] == made[::-1]
    assert len(wire.requests) == 7


def test_pictures_of_a_video_are_downloaded(client: openai.OpenAI, upstream: Upstream) -> None:
    video = client.videos.create(prompt="A heron")
    finish(upstream)
    with pytest.raises(openai.NotFoundError, match="no thumbnail, or not yet"):
        client.videos.download_content(video.id, variant="thumbnail")
    assert make_next()
    for variant, kind in (("thumbnail", "image/webp"), ("spritesheet", "image/jpeg")):
        found = client.videos.download_content(video.id, variant=variant)  # type: ignore[arg-type]
        assert found.response.headers["content-type"] == kind
        with Image.open(io.BytesIO(found.read())) as image:
            assert image.size > (0, 0)


def test_a_picture_becomes_the_first_frame(client: openai.OpenAI) -> None:
    client.videos.create(prompt="A heron", size="1280x720", input_reference=picture(1280, 720))
    assert Job.objects.get().fitted["input_reference"] == str(ReferenceImage.objects.get().pk)
    with pytest.raises(openai.BadRequestError, match="must have those of the video") as refused:
        client.videos.create(prompt="A heron", size="1280x720", input_reference=picture(64, 64))
    assert (refused.value.param, refused.value.code) == ("input_reference", "size_differs")
    kept = {"input_reference": {"file_id": str(ReferenceImage.objects.first().pk)}}  # type: ignore[union-attr]
    client.videos.create(prompt="A heron", size="1280x720", extra_body=kept)
    assert Job.objects.count() == 2
    with pytest.raises(openai.BadRequestError, match="image_url or file_id") as refused:
        client.videos.create(prompt="A heron", extra_body={"input_reference": "a.png"})
    assert refused.value.param == "input_reference"


def test_videos_are_remixed_edited_and_extended(client: openai.OpenAI, upstream: Upstream) -> None:
    source = client.videos.create(prompt="A heron", seconds="8", size="1280x720")
    with pytest.raises(openai.BadRequestError, match="not completed"):
        client.videos.remix(source.id, prompt="In snow")
    finish(upstream)
    remix = client.videos.remix(source.id, prompt="In snow")
    assert (remix.remixed_from_video_id, remix.seconds, remix.size) == (source.id, "8", "1280x720")
    by_id: Any = {"video": openai.omit, "extra_body": {"video": {"id": source.id}}}
    edit = client.videos.edit(prompt="At night", **by_id)
    assert (edit.seconds, edit.remixed_from_video_id) == ("8", None)
    assert client.videos.extend(prompt="It flies", seconds="12", **by_id).seconds == "20"
    operations = Job.objects.order_by("pk").values_list("operation", flat=True)
    assert list(operations) == ["", "remix", "edit", "extend"]


def test_a_deleted_video_is_gone_here_and_its_cost_stays(
    client: openai.OpenAI, upstream: Upstream, wire: Wire
) -> None:
    video, other = (client.videos.create(prompt=f"Heron {number}") for number in range(2))
    with pytest.raises(openai.BadRequestError, match="still being processed"):
        client.videos.delete(video.id)
    finish(upstream)
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (video.id, "video.deleted", True)
    for call in (client.videos.retrieve, client.videos.delete, client.videos.download_content):
        with pytest.raises(openai.NotFoundError, match="not found"):
            call(video.id)
    assert [each.id for each in client.videos.list()] == [other.id]
    job = Job.objects.get(pk=video.id.removeprefix("video_"))
    assert job.removed_at is not None
    assert job.submissions.get().cost_state == "settled"


def test_what_failed_says_why(client: openai.OpenAI, upstream: Upstream, sora: ScriptedClient) -> None:
    video = client.videos.create(prompt="A heron")
    submit_next(upstream)
    sora.fail(next(iter(sora.videos)))
    sweep(upstream)
    shown = client.videos.retrieve(video.id)
    assert shown.status == "failed"
    assert shown.error is not None
    assert shown.error.message
    assert client.videos.delete(video.id).deleted


@pytest.mark.parametrize(
    ("asked", "param", "says"),
    [
        ({"seconds": "5"}, "seconds", "allowed: 4, 8, 12"),
        ({"seconds": "many"}, "seconds", "number of seconds"),
        ({"size": "1920x1080"}, "size", "allowed: 720x1280, 1280x720"),
        ({"size": "big"}, "size", "WIDTHxHEIGHT"),
        ({"model": "sora-9"}, "model", "no such model"),
        ({"extra_body": {"seed": 1}}, "seed", "no such field"),
        ({"prompt": ""}, "prompt", "blank"),
    ],
)
def test_what_is_not_offered_is_refused_in_openais_envelope(
    client: openai.OpenAI, asked: dict[str, Any], param: str, says: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=says) as refused:
        client.videos.create(**{"prompt": "A heron", **asked})
    error: Any = refused.value.body
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert refused.value.request_id
    assert not Job.objects.exists()


def test_callers_who_may_not_are_told_as_openai_tells_them(client: openai.OpenAI, wire: Wire) -> None:
    video = client.videos.create(prompt="A heron")
    stranger = openai.OpenAI(
        base_url=client.base_url, api_key="sk-x", http_client=httpx.Client(transport=wire)
    )
    with pytest.raises(openai.AuthenticationError) as refused:
        stranger.videos.retrieve(video.id)
    assert refused.value.type == "authentication_error"
    for unknown in ("video_" + "0" * 32, "video_x", "x"):
        with pytest.raises(openai.NotFoundError, match=f"Video with id '{unknown}' not found"):
            client.videos.retrieve(unknown)
    # An address that is none has the same envelope.
    with pytest.raises(openai.NotFoundError) as refused:  # type: ignore[assignment]
        client.videos.create_character(name="Heron", video=b"x")
    assert refused.value.code == "not_found"


@pytest.mark.parametrize("lost", [1, 2])
def test_the_repetitions_of_a_create_make_one_job(client: openai.OpenAI, wire: Wire, lost: int) -> None:
    wire.lost = lost
    video = client.videos.create(prompt="A heron", seconds="8")
    assert [request.headers["x-stainless-retry-count"] for request in wire.requests] == [
        str(number) for number in range(lost + 1)
    ]
    assert Job.objects.count() == 1
    assert video.id == f"video_{Job.objects.get().pk.hex}"


def test_a_create_that_did_not_arrive_is_made_by_its_repetition(client: openai.OpenAI, wire: Wire) -> None:
    wire.unsent = 1
    client.videos.create(prompt="A heron")
    wire.unsent, wire.lost = 1, 1
    client.videos.create(prompt="A stork")
    assert len(wire.requests) == 5
    assert list(Job.objects.order_by("pk").values_list("prompt", flat=True)) == ["A heron", "A stork"]


def test_equal_creates_are_jobs_of_their_own(client: openai.OpenAI, wire: Wire) -> None:
    made = {client.videos.create(prompt="A heron").id for _ in range(3)}
    assert len(made) == 3
    # Its own answer is lost, and it is not given an older one.
    wire.lost = 1
    last = client.videos.create(prompt="A heron").id
    assert last not in made
    assert Job.objects.count() == 4


def test_a_repetition_of_another_request_or_key_or_of_long_ago_is_a_new_one(
    client: openai.OpenAI, wire: Wire
) -> None:
    client.videos.create(prompt="A heron")
    again: Any = {"extra_headers": {"X-Stainless-Retry-Count": "1"}}
    client.videos.create(prompt="A heron", seconds="8", **again)
    assert Job.objects.count() == 2
    IdempotencyKey.objects.update(created_at="2026-01-01T00:00:00Z")
    client.videos.create(prompt="A heron", **again)
    assert Job.objects.count() == 3


def test_an_idempotency_key_counts_alone(client: openai.OpenAI) -> None:
    keyed: Any = {"extra_headers": {"Idempotency-Key": "one"}}
    first = client.videos.create(prompt="A heron", **keyed)
    assert client.videos.create(prompt="A heron", **keyed).id == first.id
    other: Any = {"extra_headers": {"Idempotency-Key": "two", "X-Stainless-Retry-Count": "1"}}
    assert client.videos.create(prompt="A heron", **other).id != first.id


def test_the_repetition_of_a_remix_makes_one_job(
    client: openai.OpenAI, wire: Wire, upstream: Upstream
) -> None:
    source = client.videos.create(prompt="A heron")
    finish(upstream)
    wire.lost = 2
    client.videos.remix(source.id, prompt="In snow")
    assert Job.objects.filter(operation="remix").count() == 1


def test_the_docs_name_the_version_that_is_tried() -> None:
    for page in ("README.md", "docs/openai.md"):
        assert f"openai-python {openai.__version__}" in (ROOT / page).read_text(), page
