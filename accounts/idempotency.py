"""`Idempotency-Key`: a request that may cost money is carried out once, even if it is sent again."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import IdempotencyKey

T = TypeVar("T")

KEPT_FOR: Final = timedelta(hours=24)
_USABLE: Final = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS: Final = ("Location",)
_FORGOTTEN_AT_ONCE: Final = 100


class UnusableKey(APIException):
    """400: the key is empty, too long, or has blanks in it."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "idempotency_key_unusable"
    default_detail = "Idempotency-Key must be 1 to 255 visible ASCII characters, such as a UUID."


class KeyReused(APIException):
    """422: the key was used before, with another request."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key was used for another request; a new request needs a new key."


def idempotent(request: Request, carry_out: Callable[[], Response]) -> Response:
    """`idempotent_after` for what needs no preparation."""
    return idempotent_after(request, lambda: None, lambda _: carry_out())


def idempotent_after(
    request: Request, prepare: Callable[[], T], carry_out: Callable[[T], Response]
) -> Response:
    """Carries out a request and keeps its answer under the caller's key, or replays the kept answer.

    `prepare` runs before the transaction, unless there is a kept answer. What it does may be done twice.

    The key is committed together with what the request creates. An error keeps nothing, so the key can be
    used again. If the same request comes while the first runs, it waits and gets the first one's answer.
    Raises UnusableKey, KeyReused.
    """
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return carry_out(prepare())
    key = _bare(given)
    request_hash = _hash(request)
    if (kept := _kept(request, key).first()) is None:
        prepared = prepare()
        try:
            with transaction.atomic():
                return _first(request, key, request_hash, partial(carry_out, prepared))
        except IntegrityError:
            # A twin was first, and has committed by now; if there is none, this was no collision of keys.
            kept = _kept(request, key).first()
            if kept is None:
                raise
    if kept.request_hash != request_hash:
        raise KeyReused
    return Response(kept.answer, kept.status, headers={**kept.headers, "Idempotent-Replayed": "true"})


def _first(request: Request, key: str, request_hash: str, carry_out: Callable[[], Response]) -> Response:
    _forget_expired(request, key)
    row = IdempotencyKey.objects.create(owner=request.user, key=key, request_hash=request_hash)  # type: ignore[misc]
    response = carry_out()
    IdempotencyKey.objects.filter(pk=row.pk).update(
        status=response.status_code,
        answer=json.loads(JSONRenderer().render(response.data)),
        headers={name: response[name] for name in _KEPT_HEADERS if name in response},
    )
    return response


def _kept(request: Request, key: str) -> QuerySet[IdempotencyKey]:
    mine = IdempotencyKey.objects.filter(owner=request.user, key=key)  # type: ignore[misc]
    return mine.filter(created_at__gt=Now() - KEPT_FOR)


def _forget_expired(request: Request, key: str) -> None:
    expired = IdempotencyKey.objects.filter(owner=request.user, created_at__lte=Now() - KEPT_FOR)  # type: ignore[misc]
    # This one would block the insert. It goes first, so that a request that waits for its row has locked no
    # other.
    expired.filter(key=key).delete()
    # Those that another request is deleting just now are its to delete.
    found = expired.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True)
    IdempotencyKey.objects.filter(pk__in=list(found[:_FORGOTTEN_AT_ONCE])).delete()


def _bare(given: str) -> str:
    """The key without the quotes that a structured field's string has."""
    key = given.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _USABLE.fullmatch(key):
        raise UnusableKey
    return key


def _hash(request: Request) -> str:
    # An upload is kept on disk, and recognised by its digest.
    body: Any = getattr(request.data, "fingerprint", request.data)
    address = request.get_full_path()
    canonical = json.dumps([request.method, address, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
