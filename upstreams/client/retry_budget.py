"""Limits retries over all calls, so that an upstream that is down does not get every call several times."""

import threading
from typing import Final

# Half of it is more than the retries that SORA_MAX_RETRIES may ask for, so a full budget shortens no call.
MAX_TOKENS: Final = 50.0
# gRFC A6's example has a tenth, for callers that ask thousands of times a minute; we ask a few times.
TOKENS_PER_SUCCESS: Final = 0.5


class RetryBudget:
    """Decides whether a failed call may be repeated, over all calls that share it. Thread-safe.

    gRPC's retry throttling (gRFC A6: maxTokens, tokenRatio): a failed try takes a token, a success gives a
    part of one back, and nothing is repeated unless more than half of the tokens are there.
    """

    def __init__(self) -> None:
        self._tokens = MAX_TOKENS
        self._lock = threading.Lock()

    def spend(self) -> None:
        """Counts a try that failed in a way that can be repeated."""
        with self._lock:
            self._tokens = max(self._tokens - 1, 0.0)

    def refill(self) -> None:
        """Counts a try that succeeded."""
        with self._lock:
            self._tokens = min(self._tokens + TOKENS_PER_SUCCESS, MAX_TOKENS)

    def allows_retry(self) -> bool:
        """Whether a failed try may be repeated. First tries are always allowed."""
        with self._lock:
            return self._tokens > MAX_TOKENS / 2
