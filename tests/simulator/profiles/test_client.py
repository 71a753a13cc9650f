"""The client, with the dialect of each server, against the profile of that server."""

import io
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import av
import pytest

from simulator.profiles import PROFILES
from simulator.profiles.openrouter_models import MODELS
from tests.simulator.process import Simulator, eventually
from upstreams.client.client import SoraClient
from upstreams.client.dialects import DIALECTS
from upstreams.client.errors import Busy, Misconfigured, NotFound, OutcomeUnknown, Rejected
from upstreams.client.types import CreateRequest, Phase, Video

KEY = "sk-profile-4711"
WORDS = "the renderer ran out of memory"
MODEL = {name: profile.model or "sora-2" for name, profile in PROFILES.items()} | {"openrouter": min(MODELS)}
Start = Callable[..., Simulator]
FACES = pytest.mark.parametrize("name", PROFILES)


def asked(name: str, prompt: str = "A paper boat") -> CreateRequest:
    return CreateRequest(prompt=prompt, model=MODEL[name], seconds="4", size="1280x720")


@contextmanager
def client_of(simulator: Simulator, name: str, key: str = KEY) -> Iterator[SoraClient]:
    made = SoraClient(simulator.url, key, dialect=DIALECTS[name], timeout=10, retries=1, retry_delay=0.01)
    with closing(made) as client:
        yield client


def begun(start: Start, name: str, *options: str) -> Simulator:
    return start("--profile", name, "--tiny", "--render-seconds", "0.3", "--api-key", KEY, *options)


def ended(client: SoraClient, video: Video) -> Video:
    def look() -> Video | None:
        found = client.retrieve(video.id)
        return None if found.phase is Phase.RUNNING else found

    found = eventually(look, "the video has ended")
    assert found is not None
    return found


def test_each_dialect_has_a_profile() -> None:
    assert set(PROFILES) == set(DIALECTS)


@FACES
def test_a_video_is_created_followed_and_fetched(name: str, start: Start) -> None:
    simulator = begun(start, name)
    with client_of(simulator, name) as client:
        client.probe()
        video = client.create(asked(name))
        assert video.phase is Phase.RUNNING
        if key := client.dialect.match_key(asked(name)):
            assert client.dialect.match_key(client.retrieve(video.id)) == key
        assert ended(client, video).phase is Phase.COMPLETED
        with client.download(video.id) as content:
            assert content.content_type == "video/mp4"
            data = b"".join(content.chunks)
    with av.open(io.BytesIO(data), "r") as container:
        assert sum(1 for _ in container.decode(video=0)) > 0
    (entry,) = simulator.paid("A paper boat")
    assert (entry["id"], entry["status"], entry["billed"]) == (video.id, "completed", True)


@FACES
def test_a_failed_render_says_why(name: str, start: Start) -> None:
    simulator = begun(start, name)
    simulator.arm("failed", error={"code": "server_error", "message": WORDS})
    with client_of(simulator, name) as client:
        video = ended(client, client.create(asked(name)))
        assert video.phase is Phase.FAILED
        assert video.error is not None
        assert video.error.message == WORDS
        with pytest.raises(Rejected), client.download(video.id):
            pass
    assert [entry["billed"] for entry in simulator.paid("A paper boat")] == [False]


@FACES
def test_a_refusal_is_one_and_is_not_paid(name: str, start: Start) -> None:
    simulator = begun(start, name)
    request = CreateRequest(prompt="A kite", model=MODEL[name], seconds="4", size="wide")
    with client_of(simulator, name) as client:
        with pytest.raises(Rejected) as refused:
            client.create(request)
        assert "HTTP" not in refused.value.message, "the server's own words"
        with pytest.raises(Rejected):
            client.retrieve("x" * 120)
    assert simulator.ledger() == []


@FACES
def test_a_fault_is_answered_in_the_words_of_the_server(name: str, start: Start) -> None:
    simulator = begun(start, name)
    with client_of(simulator, name) as client:
        simulator.arm("error", status=429, message="Slow down", retry_after=7)
        with pytest.raises(Busy, match="Slow down") as busy:
            client.create(asked(name))
        # LiteLLM gives the header another name.
        assert busy.value.retry_after == 7
        simulator.arm("error", status=402, message="No money")
        with pytest.raises(Misconfigured, match="No money"):
            client.create(asked(name))
        assert simulator.ledger() == []
        for fault in ("created_then_drop", "created_then_500"):
            simulator.arm(fault)
            with pytest.raises(OutcomeUnknown):
                client.create(asked(name))
    assert len(simulator.ledger()) == 2


@FACES
def test_another_key_is_refused(name: str, start: Start) -> None:
    simulator = begun(start, name)
    with client_of(simulator, name, "sk-another") as client:
        with pytest.raises(Misconfigured):
            client.probe()
        with pytest.raises(Misconfigured):
            client.create(asked(name))
    assert simulator.ledger() == []


@pytest.mark.parametrize("name", [name for name, dialect in DIALECTS.items() if dialect.lists])
def test_a_list_shows_what_was_created(name: str, start: Start) -> None:
    simulator = begun(start, name)
    with client_of(simulator, name) as client:
        assert client.list().videos == ()
        made = {client.create(asked(name)).id for _ in range(2)}
        page = client.list(limit=1)
        found = {video.id for video in page.videos}
        if page.next_after is not None and PROFILES[name].paged:
            found |= {video.id for video in client.list(after=page.next_after).videos}
        assert found == made


@pytest.mark.parametrize("name", [name for name, dialect in DIALECTS.items() if dialect.deletes])
def test_a_delete_does_what_the_dialect_says(name: str, start: Start) -> None:
    simulator = begun(start, name)
    dialect = DIALECTS[name]
    with client_of(simulator, name) as client:
        done = ended(client, client.create(asked(name)))
        client.delete(done.id)
        with pytest.raises(NotFound):
            client.retrieve(done.id)
        running = client.create(asked(name, "A kite"))
        if PROFILES[name].deletes == "refuses":
            with pytest.raises(Rejected):
                client.delete(running.id)
            return
        client.delete(running.id)
        with pytest.raises(NotFound):
            client.retrieve(running.id)
    fate = "cancelled" if dialect.cancels else "completed"
    eventually(lambda: simulator.paid("A kite")[0]["status"] == fate, f"the render is {fate}")


@FACES
def test_a_restart_forgets_what_is_in_memory(name: str, start: Start) -> None:
    simulator = begun(start, name)
    with client_of(simulator, name) as client:
        video = client.create(asked(name))
    simulator.kill()
    again = begun(start, name)
    with client_of(again, name) as client:
        if name in {"vllm-omni", "sglang", "trtllm"}:
            with pytest.raises(NotFound):
                client.retrieve(video.id)
            assert client.list().videos == ()
        else:
            assert client.retrieve(video.id).id == video.id
    assert [entry["id"] for entry in again.ledger()] == [video.id]
