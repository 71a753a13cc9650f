import os
from collections.abc import Iterator

import pytest

from tests.sora.upstream import Handler, Upstream
from upstreams.client.client import SoraClient
from upstreams.client.dialects import OPENAI
from upstreams.client.types import CreateRequest

KEY = "sk-canary-4711"
PROMPT = 'a canary "sings"\nin the gärden'
REQUEST = CreateRequest(prompt=PROMPT, model="sora-2", seconds="8", size="1280x720")


class Naps:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def clock(self) -> float:
        return sum(self.taken)

    def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"}:
            monkeypatch.delenv(name)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def make_client(naps) -> Iterator:
    made = []

    def make(base_url="https://sora.test/v1", api_key=KEY, **options) -> SoraClient:
        defaults = {
            "dialect": OPENAI,
            "timeout": 2.0,
            "connect_timeout": 2.0,
            "retries": 2,
            "retry_delay": 1.0,
            "deadline": 60.0,
            "clock": naps.clock,
            "sleep": naps.sleep,
        }
        made.append(SoraClient(base_url, api_key, **(defaults | options)))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def serve() -> Iterator:
    running = []

    def start(handler: Handler, **options) -> Upstream:
        running.append(Upstream(handler, **options).__enter__())
        return running[-1]

    yield start
    for upstream in running:
        upstream.__exit__()
