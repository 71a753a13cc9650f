"""Standard Webhooks signatures, as OpenAI's SDK verifies them (openai/lib/_webhooks.py)."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from typing import Final

# Both ways: what is older may be a replay.
TOLERANCE_SECONDS: Final = 300


class Refused(Exception):
    """The request is not signed with the secret, or is too old. Says why."""


def key_of(secret: str) -> bytes:
    """The key of a secret: the base64 after whsec_, or the bytes of the secret itself. Raises ValueError."""
    if secret.startswith("whsec_"):
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    return secret.encode()


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[str]) -> str:
    """Returns the webhook's id if one of its signatures was made with one of the secrets.

    `headers` ignores case; the body is verified as it came. Raises Refused.
    """
    webhook_id, timestamp, signatures = (
        headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if not (webhook_id and timestamp and signatures):
        raise Refused("webhook-id, webhook-timestamp or webhook-signature is missing.")
    try:
        age = int(time.time()) - int(timestamp)
    except ValueError:
        raise Refused("webhook-timestamp is not a number of seconds.") from None
    if abs(age) > TOLERANCE_SECONDS:
        raise Refused(f"webhook-timestamp is {'too old' if age > 0 else 'too new'}.")
    # As the SDK has it, one without a version counts as v1.
    given = [each.removeprefix("v1,").encode() for each in signatures.split()]
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    for secret in secrets:
        made = base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256))
        if any(hmac.compare_digest(made, each) for each in given):
            return webhook_id
    raise Refused("No signature in webhook-signature is right.")
