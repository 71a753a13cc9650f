"""Recognises the retries of OpenAI's SDKs, which send no Idempotency-Key.

After a timeout, a lost connection or a 5xx they send the same request again, with `X-Stainless-Retry-Count`
1 and then 2. A retry gets the answer of the request that it repeats, if that was carried out.

Two creates with the same body within half an hour cannot be told apart for certain. A retry gets the answer
of the newest one that was not repeated so often yet. A caller who wants to be certain sends an
Idempotency-Key with each.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import uuid_utils.compat as uuid_utils
from django.db import connection, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent_after
from accounts.models import IdempotencyKey
from upstreams.clock import database_now

# An SDK waits ten minutes for each of its three answers, and up to two between two tries, if we say so.
_WINDOW: Final = timedelta(minutes=30)
_COUNT: Final = "X-Stainless-Retry-Count"
# So many equal creates are looked at.
_MOST: Final = 10_000


def carried_out_once(
    request: Request, prepare: Callable[[], Any], carry_out: Callable[[Any], Response]
) -> Response:
    """Carries out a create, or replays the answer to the one that it repeats. With an Idempotency-Key that
    counts alone."""
    count = _count(request)
    if count is None or "Idempotency-Key" in request.headers:
        return idempotent_after(request, prepare, carry_out)
    begun = database_now()
    digest = _digest(request)
    if count:
        # What is repeated needs no preparation, which may be costly.
        with transaction.atomic():
            _take_turns(digest)
            if (kept := _kept(request, digest, count, begun)) is not None:
                return kept
    prepared = prepare()
    with transaction.atomic():
        _take_turns(digest)
        if (kept := _kept(request, digest, count, begun)) is not None:
            return kept
        response = carry_out(prepared)
        IdempotencyKey.objects.create(
            owner=request.user,  # type: ignore[misc]
            key=f"{_prefix(digest)}{uuid_utils.uuid7().hex}",
            request_hash=digest,
            status=response.status_code,
            answer=response.data,
            headers={"counts": [count]},
        )
        return response


def _take_turns(digest: str) -> None:
    """Until the request that it repeats is decided, a retry waits here. On SQLite the transaction is the
    lock."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int(digest[:15], 16)])


def _kept(request: Request, digest: str, count: int, begun: datetime) -> Response | None:
    """The answer that this try gets; None if nothing of it was carried out."""
    prefix = _prefix(digest)
    # By its bounds: an index serves no pattern.
    alike = IdempotencyKey.objects.filter(
        owner=request.user,  # type: ignore[misc]
        key__gt=prefix,
        key__lt=f"{prefix}g",
        created_at__gt=begun - _WINDOW,
    )
    rows = list(alike.order_by("-created_at", "-pk").values_list("pk", "headers", "created_at")[:_MOST])
    repeated = [row for row in rows if max(row[1]["counts"]) < count]
    # A retry may overtake the try that it repeats.
    overtaken = [row for row in rows if min(row[1]["counts"]) > count and row[2] > begun]
    found = max(repeated, key=lambda row: max(row[1]["counts"]), default=None) or next(iter(overtaken), None)
    if found is None:
        return None
    pk, headers, _ = found
    kept = IdempotencyKey.objects.get(pk=pk)
    kept.headers = headers | {"counts": [*headers["counts"], count]}
    kept.save(update_fields=["headers"])
    return Response(kept.answer, kept.status, headers={"Idempotent-Replayed": "true"})


def _prefix(digest: str) -> str:
    # No key of a caller's own has a blank.
    return f"sdk {digest}:"


def _count(request: Request) -> int | None:
    given = request.headers.get(_COUNT, "")
    return int(given) if given.isdecimal() and given.isascii() and len(given) <= 4 else None


def _digest(request: Request) -> str:
    body: Any = getattr(request.data, "fingerprint", request.data)
    # Another key of the account is another caller.
    key = getattr(request.auth, "pk", None)
    canonical = json.dumps([request.path, key, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
