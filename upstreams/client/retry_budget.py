"""How often an upstream may be asked again: one that is down is not to get every call several times."""

import threading
from typing import Final

# Half of it is more than the retries that SORA_MAX_RETRIES may ask for, so a full budget shortens no call.
MAX_TOKENS: Final = 50.0
# gRFC A6's example has a tenth, for callers that ask thousands of times a minute; we ask a few times.
TOKENS_PER_SUCCESS: Final = 0.5


class RetryBudget:
    """Tells whether what failed may be repeated, over all calls that share it, from any thread.

    gRPC's retry throttling (gRFC A6: maxTokens, tokenRatio): a failed try takes a token, a success gives a
    part of one back, and nothing is repeated unless more than half of the tokens are there.
    """

    def __init__(self) -> None:
        self._tokens = MAX_TOKENS
        self._lock = threading.Lock()

    def spend(self) -> None:
        """A try has failed in a way that repeating might help."""
        with self._lock:
            self._tokens = max(self._tokens - 1, 0.0)

    def refill(self) -> None:
        """A try has succeeded."""
        with self._lock:
            self._tokens = min(self._tokens + TOKENS_PER_SUCCESS, MAX_TOKENS)

    def allows_retry(self) -> bool:
        """Whether one more try may follow a failed one; a first try asks nobody."""
        with self._lock:
            return self._tokens > MAX_TOKENS / 2
