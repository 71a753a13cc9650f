"""The ledger of paid creates: each request that made a job, and what it cost."""

import base64
import hashlib
import time
from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.jobs import Job
from simulator.state.records import Receipt
from simulator.state.store import FORGOTTEN


def receipt(request: web.Request, raw: bytes, seconds: int, price: Decimal | None) -> Receipt:
    """Keeps a request as it came, with a short hash in place of the key."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    if "authorization" in headers:
        digest = hashlib.sha256(headers["authorization"].encode()).hexdigest()
        headers["authorization"] = f"sha256:{digest[:12]}"
    return Receipt(request.method, request.path, headers, raw, seconds, None if price is None else str(price))


def entry(job: Job, kept: Receipt, *, bill_failed: bool) -> dict[str, Any]:
    """One ledger entry; a job is billed from its creation, unless it ends as anything but completed."""
    now = time.time()
    status = job.status(now)
    text, encoding = _readable(kept.body)
    return {
        "id": job.id.partition(FORGOTTEN)[0],
        "number": job.number,
        "created_at": job.created_at,
        "operation": job.kind,
        "method": kept.method,
        "path": kept.path,
        "headers": kept.headers,
        "body": text,
        "body_encoding": encoding,
        "model": job.model,
        "seconds": str(kept.seconds),
        "size": job.size,
        "prompt": job.prompt,
        "price": kept.price,
        "billed": bill_failed or job.running(now) or job.completed(now),
        "status": status,
        "deleted": job.deleted_at is not None,
    }


def _readable(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), "text"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"
