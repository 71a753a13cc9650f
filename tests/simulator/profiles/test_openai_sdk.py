"""OpenAI's own SDK, unchanged, works against the profiles of the servers that have its protocol.

With strict validation it takes no answer that is not of its types.
"""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.simulator.process import Simulator

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")
KEY = "sk-profile-4711"
MODEL = "sora-2"
Start = Callable[..., Simulator]


@pytest.fixture(params=["openai", "azure", "litellm"])
def face(request: pytest.FixtureRequest, start: Start) -> tuple[str, Simulator]:
    name = request.param
    simulator = start("--profile", name, "--tiny", "--render-seconds", "0.3", "--api-key", KEY)
    return name, simulator


@pytest.fixture
def client(face: tuple[str, Simulator]) -> Iterator[openai.OpenAI]:
    with strict(face[1]) as client:
        yield client


def strict(simulator: Simulator, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=simulator.url, api_key=key, max_retries=0, _strict_response_validation=True)


def test_a_video_is_created_polled_listed_and_fetched(
    client: openai.OpenAI, face: tuple[str, Simulator]
) -> None:
    name, simulator = face
    made = client.videos.create(prompt="A heron", model=MODEL, seconds="4", size="1280x720")
    assert (made.object, made.status, made.model, made.seconds) == ("video", "queued", MODEL, "4")
    video = client.videos.poll(made.id, poll_interval_ms=50)
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    # LiteLLM lists nothing unless it is told whose.
    query: dict[str, Any] = {"custom_llm_provider": "openai"} if name == "litellm" else {}
    assert [each.id for each in client.videos.list(extra_query=query)] == [made.id]
    content = client.videos.download_content(made.id)
    assert content.response.headers["content-type"] == "video/mp4"
    assert content.read()[4:8] == b"ftyp"
    (entry,) = simulator.ledger()
    assert entry["prompt"] == "A heron"


def test_a_failed_render_has_a_typed_error(client: openai.OpenAI, face: tuple[str, Simulator]) -> None:
    face[1].arm("failed", error={"code": "server_error", "message": "no memory"})
    video = client.videos.create_and_poll(prompt="A heron", model=MODEL, poll_interval_ms=50)
    assert video.status == "failed"
    assert video.error is not None
    assert (video.error.code, video.error.message) == ("server_error", "no memory")


def test_a_remix_names_its_source(client: openai.OpenAI) -> None:
    source = client.videos.create_and_poll(prompt="A heron", model=MODEL, poll_interval_ms=50)
    assert client.videos.remix(source.id, prompt="A heron in snow").remixed_from_video_id is not None


def test_a_video_is_deleted_if_the_server_can(client: openai.OpenAI, face: tuple[str, Simulator]) -> None:
    video = client.videos.create_and_poll(prompt="A heron", model=MODEL, poll_interval_ms=50)
    if face[0] == "litellm":
        with pytest.raises(openai.APIStatusError) as refused:
            client.videos.delete(video.id)
        assert refused.value.status_code == 405
        return
    gone = client.videos.delete(video.id)
    assert (gone.object, gone.deleted) == ("video.deleted", True)
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)


@pytest.mark.parametrize(
    ("changes", "refusals"),
    [
        ({"prompt": ""}, {400}),
        ({"seconds": "7"}, {400}),
        ({"size": "64x64"}, {400}),
        ({"model": "no-such-model"}, {400, 404}),
    ],
)
def test_a_refusal_is_a_typed_error(
    client: openai.OpenAI, face: tuple[str, Simulator], changes: dict[str, Any], refusals: set[int]
) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.videos.create(**{"prompt": "A heron", "model": MODEL} | changes)
    assert refused.value.status_code in refusals
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["message"]
    assert face[1].ledger() == []


def test_another_key_is_refused(face: tuple[str, Simulator]) -> None:
    name, simulator = face
    kind = openai.BadRequestError if name == "litellm" else openai.AuthenticationError
    with strict(simulator, "sk-other") as client, pytest.raises(kind):
        client.videos.create(prompt="A heron", model=MODEL)


def test_azure_says_when_too_many_run(start: Start) -> None:
    simulator = start("--profile", "azure", "--tiny", "--render-seconds", "600")
    with strict(simulator) as client:
        for _ in range(2):
            client.videos.create(prompt="A heron", model=MODEL)
        with pytest.raises(openai.RateLimitError, match="Too many running tasks"):
            client.videos.create(prompt="A heron", model=MODEL)
