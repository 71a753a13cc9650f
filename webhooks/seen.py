"""Which webhooks were handled already. This only saves work: handling one twice is harmless."""

import hashlib
from typing import Final

from django.core.cache import cache

# Longer than one signature is taken, before and after its time.
_KEPT_SECONDS: Final = 3600


def _key(webhook_id: str) -> str:
    # Of any length and any characters, which not every cache takes.
    return f"webhooks.seen.{hashlib.sha256(webhook_id.encode()).hexdigest()}"


def was_taken(webhook_id: str) -> bool:
    """Whether the webhook was handled before."""
    return cache.get(_key(webhook_id)) is not None


def remember(webhook_id: str) -> None:
    """Records that the webhook was handled."""
    cache.set(_key(webhook_id), 1, _KEPT_SECONDS)
