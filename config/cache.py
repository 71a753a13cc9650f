"""The cache of a deployment with Redis. While Redis does not answer, the memory of the process
replaces it."""

import logging
import time
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

_AWAY_SECONDS = 10.0
# By address, for all threads: each has its own RedisOrMemory.
_away_until: dict[str, float] = {}


# A key that is not there would be made, and would never expire.
_INCREMENT = """
if redis.call("EXISTS", KEYS[1]) == 0 then return false end
return redis.call("INCRBY", KEYS[1], ARGV[1])
"""


class _Client(RedisCacheClient):
    """Counts in one call. Django's own first asks whether the key is there."""

    def incr(self, key: Any, delta: int) -> int:
        count = self.get_client(key, write=True).eval(_INCREMENT, 1, key, delta)
        if count is None:
            raise ValueError(f"Key {key!r} not found.")
        return int(count)


class _Redis(RedisCache):
    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _Client


class RedisOrMemory(BaseCache):
    """Redis; or, for ten seconds after a call that it did not answer, a cache in this process.

    It has only limits and marks that may be lost. No call raises if the server is down. Calls that run when
    it goes down, and one call in ten seconds after that, wait for the socket timeout of OPTIONS. There is no
    clear(), because the same Redis has the broker's messages.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._location = location
        self._redis = _Redis(location, params)
        options = {**params.get("OPTIONS", {}), "MAX_ENTRIES": 100_000}
        self._memory = LocMemCache(f"instead of {location}", {**params, "OPTIONS": options})

    def _do(self, call: Callable[[BaseCache], Any]) -> Any:
        now = time.monotonic()
        away_until = _away_until.get(self._location, 0.0)
        if now >= away_until:
            if away_until:
                # One attempts whether it is back; the others do not wait for that.
                _away_until[self._location] = now + _AWAY_SECONDS
            try:
                found = call(self._redis)
                _away_until.pop(self._location, None)
                return found
            except (RedisError, OSError) as error:
                _away_until[self._location] = time.monotonic() + _AWAY_SECONDS
                logger.warning(
                    "Redis does not answer (%s): limits count in this process alone for %d s.",
                    error,
                    _AWAY_SECONDS,
                )
        return call(self._memory)

    def add(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        return self._do(lambda cache: cache.add(key, *args, **kwargs))

    def get(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        return self._do(lambda cache: cache.get(key, *args, **kwargs))

    def set(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        return self._do(lambda cache: cache.set(key, *args, **kwargs))

    def touch(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        return self._do(lambda cache: cache.touch(key, *args, **kwargs))

    def delete(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        return self._do(lambda cache: cache.delete(key, *args, **kwargs))

    def incr(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        return self._do(lambda cache: cache.incr(key, *args, **kwargs))

    def close(self, **kwargs: Any) -> None:
        self._redis.close(**kwargs)
