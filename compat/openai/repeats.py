"""Recognises the retries of OpenAI's SDKs, which send no Idempotency-Key.

After a timeout, a lost connection or a 5xx they send the same request again, with `X-Stainless-Retry-Count`
1 and then 2. A repetition gets the answer of the request that it repeats, if that was carried out.

Two creates with the same body within a quarter of an hour cannot be told apart by a repetition. It gets the
answer of the oldest one that was repeated less often, so that nothing is paid twice: but if that create is
none of its own, its own is not made. A caller who wants both sends an Idempotency-Key with each.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import uuid_utils.compat as uuid_utils
from django.db import transaction
from django.db.models.functions import Now
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent_after
from accounts.models import IdempotencyKey, User

# An SDK waits for ten minutes at most, and a few seconds between two tries.
_WINDOW: Final = timedelta(minutes=15)
_COUNT: Final = "X-Stainless-Retry-Count"
_MOST: Final = 100


def carried_out_once(
    request: Request, prepare: Callable[[], Any], carry_out: Callable[[Any], Response]
) -> Response:
    """Carries out a create, or replays the answer to the one that it repeats. With an Idempotency-Key that
    counts alone."""
    count = _count(request)
    if count is None or "Idempotency-Key" in request.headers:
        return idempotent_after(request, prepare, carry_out)
    prefix = f"sdk:{_digest(request)}:"
    if (kept := _kept(request, prefix, count)) is not None:
        return kept
    prepared = prepare()
    with transaction.atomic():
        # Until the first one is decided, its repetition waits here.
        User.objects.select_for_update(no_key=True).get(username=request.user.get_username())
        if (kept := _kept(request, prefix, count)) is not None:
            return kept
        response = carry_out(prepared)
        IdempotencyKey.objects.create(
            owner=request.user,  # type: ignore[misc]
            key=f"{prefix}{uuid_utils.uuid7().hex}",
            request_hash=prefix[4:-1],
            status=response.status_code,
            answer=response.data,
            headers={"count": str(count)},
        )
        return response


def _kept(request: Request, prefix: str, count: int) -> Response | None:
    """The answer that a repetition gets; None to a first try, and if nothing was carried out."""
    if count == 0:
        return None
    # By its bounds: an index serves no pattern.
    alike = IdempotencyKey.objects.filter(
        owner=request.user,  # type: ignore[misc]
        key__gt=prefix,
        key__lt=f"{prefix}g",
        created_at__gt=Now() - _WINDOW,
    )
    with transaction.atomic():
        for each in alike.order_by("created_at", "pk").select_for_update()[:_MOST]:
            if int(each.headers["count"]) < count:
                each.headers["count"] = str(count)
                each.save(update_fields=["headers"])
                return Response(each.answer, each.status, headers={"Idempotent-Replayed": "true"})
    return None


def _count(request: Request) -> int | None:
    given = request.headers.get(_COUNT, "")
    return int(given) if given.isdecimal() and given.isascii() and len(given) <= 4 else None


def _digest(request: Request) -> str:
    body: Any = getattr(request.data, "fingerprint", request.data)
    # Another key of the account is another caller.
    key = getattr(request.auth, "pk", None)
    canonical = json.dumps([request.path, key, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
