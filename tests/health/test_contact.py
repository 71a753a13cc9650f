"""When the upstream last answered, as workers see it."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from pytest_django import Settings

from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient
from upstreams.calls import contact
from upstreams.calls.contact import ObservedClient, ask_if_silent, note_answer, write_down
from upstreams.client import errors
from upstreams.client.client import SoraClient
from upstreams.client.types import CreateRequest
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.registry import Upstream, configured
from upstreams.signals import upstream_called

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_heard() -> Iterator[None]:
    contact._noted.answered_at.clear()
    yield
    contact._noted.answered_at.clear()


def answered_at() -> Any:
    return Provider.objects.get(name="simulator").answered_at


def test_a_silent_upstream_is_asked_by_one_worker(upstream: Upstream, sora: ScriptedClient) -> None:
    assert ask_if_silent("simulator", upstream.client)
    assert not ask_if_silent("simulator", upstream.client)
    assert sora.probes == 1
    assert abs(answered_at() - database_now()) < timedelta(seconds=5)


def test_it_is_asked_again_when_it_has_been_silent_for_long_enough(
    upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_CONTACT_SECONDS = 30
    ask_if_silent("simulator", upstream.client)
    with shifted(timedelta(seconds=29)):
        assert not ask_if_silent("simulator", upstream.client)
    with shifted(timedelta(seconds=31)):
        assert ask_if_silent("simulator", upstream.client)
    assert sora.probes == 2


@pytest.mark.parametrize(
    ("error", "is_answer"),
    [
        (errors.Busy("429"), True),
        (errors.Rejected("400"), True),
        (errors.NotFound("404"), True),
        (errors.Unavailable("refused"), False),
        (errors.Misconfigured("401"), False),
    ],
)
def test_a_refusal_is_an_answer_and_silence_or_a_wrong_key_is_none(
    upstream: Upstream, sora: ScriptedClient, error: errors.SoraError, is_answer: bool
) -> None:
    sora.probe_error = error
    assert ask_if_silent("simulator", upstream.client)
    assert (answered_at() is not None) is is_answer


@pytest.mark.parametrize("held", ["paused_at", "list_backoff_until"])
def test_an_upstream_that_is_paused_or_wants_to_be_left_alone_is_not_asked(
    upstream: Upstream, sora: ScriptedClient, held: str
) -> None:
    Provider.objects.create(name="simulator", **{held: database_now() + timedelta(seconds=60)})
    assert not ask_if_silent("simulator", upstream.client)
    assert sora.probes == 0


def test_what_was_heard_is_written_down_once_and_never_back_in_time(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    later = database_now() + timedelta(seconds=60)
    Provider.objects.create(name="simulator", answered_at=later)
    note_answer("simulator")
    write_down()
    assert answered_at() == later
    with django_assert_num_queries(0):
        write_down()


def test_the_time_written_down_is_that_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    Provider.objects.create(name="simulator")
    contact._noted.answered_at["simulator"] = time.monotonic() - 100
    write_down()
    assert 99 < (database_now() - answered_at()).total_seconds() < 110


def test_a_database_that_is_away_costs_nothing_but_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr("upstreams.calls.contact.Provider.objects.filter", away)
    note_answer("simulator")
    write_down()


@pytest.fixture
def heard() -> Iterator[list[tuple[str, str]]]:
    calls: list[tuple[str, str]] = []

    def hear(*, call: str, error: str, seconds: float, **_: Any) -> None:
        assert seconds >= 0
        calls.append((call, error))

    upstream_called.connect(hear, weak=False)
    yield calls
    upstream_called.disconnect(hear)


REQUEST = CreateRequest(model="sora-2", prompt="a boat", seconds="4", size="1280x720")
CALLS: list[tuple[str, Callable[[SoraClient], Any]]] = [
    ("create", lambda client: client.create(REQUEST)),
    ("retrieve", lambda client: client.retrieve("video_1")),
    ("list", lambda client: client.list()),
    ("list", lambda client: client.probe()),
    ("delete", lambda client: client.delete("video_1")),
    ("download", lambda client: client.download("video_1").__enter__()),
]


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_each_call_of_the_configured_client_is_observed(
    settings: Settings, heard: list[tuple[str, str]], name: str, call: Callable[[SoraClient], Any]
) -> None:
    settings.SORA_BASE_URL = "http://127.0.0.1:1/v1"
    settings.SORA_MAX_RETRIES = 0
    client = configured().all[0].client
    assert isinstance(client, ObservedClient)
    with pytest.raises(errors.SoraError):
        call(client)
    assert [each for each, _ in heard] == [name]
    assert heard[0][1] in {"NotSent", "Unavailable"}
    assert contact._noted.answered_at == {}


def test_an_answer_is_noted_and_a_mistake_of_ours_is_not(
    monkeypatch: pytest.MonkeyPatch, heard: list[tuple[str, str]]
) -> None:
    client = configured().all[0].client
    monkeypatch.setattr(SoraClient, "delete", lambda self, video_id: None)
    client.delete("video_1")
    assert heard == [("delete", "")]
    assert contact._noted.answered_at
    contact._noted.answered_at.clear()

    def full(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(SoraClient, "delete", full)
    with pytest.raises(OSError, match="disk full"):
        client.delete("video_1")
    assert heard == [("delete", "")]
    assert contact._noted.answered_at == {}


def test_noting_waits_for_no_database() -> None:
    done = threading.Event()

    def note() -> None:
        note_answer("simulator")
        done.set()

    thread = threading.Thread(target=note)
    thread.start()
    assert done.wait(TIMEOUT)
    thread.join()


def test_what_is_set_wrongly_is_said_at_the_start(
    upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    sora.probe_error = errors.Misconfigured("HTTP 301: the upstream redirects to https://host.example")
    assert ask_if_silent("simulator", upstream.client)
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "redirects to https://host.example" in line.getMessage()
    assert answered_at() is None
