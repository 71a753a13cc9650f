"""The cache of a deployment with Redis: this process's own memory stands in while Redis does not answer."""

import logging
import time
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

_AWAY_SECONDS = 10.0
# By address, for all threads: each has its own RedisOrMemory.
_away_until: dict[str, float] = {}


class RedisOrMemory(BaseCache):
    """Redis; for ten seconds after a call that it did not answer, a cache that no other process sees.

    What is kept here is limits and marks that may be lost. No call raises for want of a server, and one call
    in ten seconds waits for the socket timeout of OPTIONS.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._location = location
        self._redis = RedisCache(location, params)
        self._memory = LocMemCache(f"instead of {location}", params)

    def _do(self, call: Callable[[BaseCache], Any]) -> Any:
        if time.monotonic() >= _away_until.get(self._location, 0.0):
            try:
                return call(self._redis)
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

    def clear(self) -> Any:
        return self._do(lambda cache: cache.clear())

    def close(self, **kwargs: Any) -> None:
        self._redis.close(**kwargs)
