"""Webhooks as the upstream signs them, written apart from what verifies them."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from django.test import Client

URL = "/hooks/sora"
SECRET = "whsec_dGFrZSBvbmUgaW4gYSB0ZXN0"


def signature(body: bytes, *, secret: str = SECRET, webhook_id: str = "wh_1", at: object) -> str:
    """`v1,` and the signature of the body at that time."""
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = b".".join([webhook_id.encode(), str(at).encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(
    body: bytes, *, secret: str = SECRET, webhook_id: str = "wh_1", at: object = None, age: int = 0
) -> dict[str, str]:
    """The three headers of a webhook that is `age` seconds old, or was sent `at` that time."""
    moment = int(time.time()) - age if at is None else at
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(moment),
        "webhook-signature": signature(body, secret=secret, webhook_id=webhook_id, at=moment),
    }


def event(upstream_id: str = "video_1", kind: str = "video.completed") -> bytes:
    """An event's body as OpenAI's guide has it."""
    data = {"id": upstream_id}
    return json.dumps(
        {"id": "evt_1", "object": "event", "created_at": 1758941485, "type": kind, "data": data}
    ).encode()


def send(client: Client, body: bytes, signed: dict[str, str] | None = None, **changes: Any) -> Any:
    """Posts a body with these headers, or as it is signed with `changes`."""
    given = headers(body, **changes) if signed is None else signed
    return client.post(URL, body, content_type="application/json", headers=given)
