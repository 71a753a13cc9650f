"""Rows of the state file that are not jobs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Receipt:
    """What was paid for, and the raw request that asked for it; `price` in dollars, None if unpublished."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    seconds: int
    price: str | None


@dataclass(frozen=True)
class Event:
    """One webhook event; `webhook_id` stays the same over all its deliveries."""

    webhook_id: str
    video_id: str
    body: str
    created_at: float
    attempts: int
    due_at: float
