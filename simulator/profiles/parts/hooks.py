"""Webhooks of ended jobs: where they go, what they say, and how they are signed."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from simulator.jobs import Job

_TYPES = {"completed": "video.completed", "failed": "video.failed"}
_ENDS = frozenset({"completed", "failed", "cancelled", "expired"})
_USER_AGENT = "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"
# What a forged signature is made with.
_FORGED = b"another key"


@dataclass(frozen=True)
class Endpoint:
    """Where events go; the first retry follows after `retry_seconds`, each next after twice as long.

    `optional`: creates may name an address of their own, and without a secret nothing is signed.
    """

    url: str | None
    secret: str
    retry_seconds: float = 1.0
    optional: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for an address or a secret that cannot work."""
        if (self.url is not None or not self.optional) and not is_address(self.url):
            raise ValueError("a webhook URL begins with http:// or https://")
        if not self.secret and not self.optional:
            raise ValueError("a webhook needs a secret, such as whsec_… in base64")
        try:
            self.key()
        except binascii.Error:
            raise ValueError("what follows whsec_ must be base64") from None

    def key(self) -> bytes:
        if self.secret.startswith("whsec_") and not self.optional:
            return base64.b64decode(self.secret.removeprefix("whsec_"), validate=True)
        return self.secret.encode()


def is_address(url: object) -> bool:
    """Whether something can be posted there."""
    return isinstance(url, str) and url.startswith(("http://", "https://"))


Told = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Hooks:
    """One server's way. `event` gives an id and a body, or None of an end that nobody is told."""

    event: Callable[[Job, Mapping[str, Any], float], Told | None]
    headers: Callable[[Endpoint, str, str, float, bool], dict[str, str]]
    optional: bool = False

    def endpoint(self, url: str | None, secret: str, retry_seconds: float) -> Endpoint | None:
        """Raises ValueError for what cannot work; None if nobody is to be told."""
        if url is None and not self.optional:
            return None
        return Endpoint(url, secret, retry_seconds, self.optional)


def _standard_event(job: Job, video: Mapping[str, Any], now: float) -> Told | None:
    kind = _TYPES.get(job.status(now))
    if kind is None:
        return None
    body = {
        "id": f"evt_{secrets.token_hex(16)}",
        "object": "event",
        "created_at": int(now),
        "type": kind,
        "data": {"id": job.id},
    }
    return f"wh_{secrets.token_hex(16)}", body


def _standard_headers(endpoint: Endpoint, told: str, body: str, now: float, honest: bool) -> dict[str, str]:
    """The headers that a receiver checks, signed again at each attempt."""
    signed = f"{told}.{int(now)}.{body}".encode()
    digest = hmac.new(endpoint.key() if honest else _FORGED, signed, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": _USER_AGENT,
        "webhook-id": told,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _callback_event(job: Job, video: Mapping[str, Any], now: float) -> Told | None:
    status = job.status(now)
    if status not in _ENDS:
        return None
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = {name: video[name] for name in ("unsigned_urls", "usage", "error") if name in video}
    data = {"id": job.id, "status": status, "generation_id": video.get("generation_id"), "model": job.model}
    body = {"type": f"video.generation.{status}", "created_at": moment, "data": data | shown}
    return f"{job.id}-{status}", body


def _callback_headers(endpoint: Endpoint, told: str, body: str, now: float, honest: bool) -> dict[str, str]:
    headers = {"content-type": "application/json", "X-OpenRouter-Idempotency-Key": told}
    if endpoint.secret or not honest:
        key = endpoint.key() if honest else _FORGED
        digest = hmac.new(key, f"{int(now)},{body}".encode(), hashlib.sha256).hexdigest()
        headers["X-OpenRouter-Signature"] = f"t={int(now)},v1={digest}"
    return headers


STANDARD = Hooks(_standard_event, _standard_headers)
CALLBACKS = Hooks(_callback_event, _callback_headers, optional=True)
