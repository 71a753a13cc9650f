"""A Redis that is away or frozen costs a caller next to nothing, and no limit."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from config import cache as config_cache
from tests.servers import Absent, own_redis
from tests.services import free_port

pytestmark = pytest.mark.django_db
URL = "/api/v1/videos"


@pytest.fixture(params=["away", "frozen"])
def deaf(request: pytest.FixtureRequest, settings: Settings) -> Iterator[None]:
    """The cache of a deployment whose Redis does not answer."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        if request.param == "frozen":
            # The kernel takes connections for it, and nobody ever answers.
            server.listen()
        settings.CACHES = {
            "default": {
                "BACKEND": "config.cache.RedisOrMemory",
                "LOCATION": f"redis://127.0.0.1:{server.getsockname()[1]}/0",
                "OPTIONS": {"socket_timeout": 0.2, "socket_connect_timeout": 0.2},
            }
        }
        yield
    config_cache._away_until.clear()


def test_the_limit_holds_in_this_process(
    api: Client,
    settings: Settings,
    deaf: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The limit is for a minute of the clock, and one may begin between two of these calls.
    ends = int(time.time()) + 30
    monkeypatch.setattr("django_ratelimit.core._get_window", lambda value, period: ends)
    settings.RATE_LIMIT_READS_PER_MINUTE = 3
    assert [api.get(URL).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    # It was asked once: each try may take as long as its timeout.
    assert [record.name for record in caplog.records].count("config.cache") == 1


def test_each_method_has_a_stand_in(deaf: None) -> None:
    assert cache.add("a", 1, 60) is True
    assert cache.add("a", 2, 60) is False
    assert cache.incr("a") == 2
    assert cache.touch("a", 60) is True
    cache.set("b", "x", 60)
    assert cache.get_many(["a", "b", "c"]) == {"a": 2, "b": "x"}
    assert "b" in cache
    assert cache.delete("b") is True
    assert cache.get("b", "none") == "none"
    with pytest.raises(NotImplementedError):
        cache.clear()


def test_redis_is_asked_again_after_a_while(
    deaf: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.get("a")
    cache.get("a")
    assert len(caplog.records) == 1
    clock: Any = config_cache.time.monotonic
    monkeypatch.setattr(config_cache.time, "monotonic", lambda: clock() + 11)
    cache.get("a")
    assert len(caplog.records) == 2


def test_a_counter_that_is_not_there_is_not_made(settings: Settings) -> None:
    """One that begins at nothing is there."""
    try:
        with own_redis(free_port()) as server:
            settings.CACHES = {"default": {"BACKEND": "config.cache.RedisOrMemory", "LOCATION": server.url}}
            with pytest.raises(ValueError, match="not found"):
                cache.incr("a")
            assert cache.get("a") is None
            assert cache.add("a", 0, 60)
            assert [cache.incr("a"), cache.incr("a", 5), cache.decr("a", 2)] == [1, 6, 4]
            with redis.Redis.from_url(server.url) as connection:
                assert [0 < connection.ttl(key) <= 60 for key in connection.scan_iter()] == [True]
    except Absent as error:
        pytest.skip(str(error))
    finally:
        config_cache._away_until.clear()
