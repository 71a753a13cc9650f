"""`Idempotency-Key`: a request that may cost money is carried out once, even if it is sent again."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import IdempotencyKey
from api.statements.compiled import Compiled
from api.statements.inserts import insert

T = TypeVar("T")

KEPT_FOR: Final = timedelta(hours=24)
_USABLE: Final = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS: Final = ("Location",)
_FORGOTTEN_AT_ONCE: Final = 1000


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
    used again. If the same request comes while the first runs, what it does is rolled back, and it gets the
    first one's answer. Raises UnusableKey, KeyReused.
    """
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return carry_out(prepare())
    key = _bare(given)
    request_hash = _hash(request)
    kept = _kept(request, key)
    if kept is None:
        try:
            prepared = prepare()
            with transaction.atomic(), _within():
                response = carry_out(prepared)
                _keep(request, key, request_hash, response)
            return response
        except (APIException, Http404, IntegrityError):
            # A twin was first, and has committed by now: this one failed at the twin's answer, or at what the
            # twin has done. Or there is none, and this is an error of its own.
            kept = _kept(request, key)
            if kept is None:
                raise
    if kept.request_hash != request_hash:
        raise KeyReused
    return Response(kept.answer, kept.status, headers={**kept.headers, "Idempotent-Replayed": "true"})


_is_within = ContextVar("takeone_within_request", default=False)


@contextmanager
def _within() -> Iterator[None]:
    token = _is_within.set(True)
    try:
        yield
    finally:
        _is_within.reset(token)


def is_within_request() -> bool:
    """Whether a request under an Idempotency-Key is carried out. Any error rolls all of it back."""
    return _is_within.get()


def forget_some() -> int:
    """Deletes some keys that have expired, and returns how many."""
    expired = IdempotencyKey.objects.filter(created_at__lte=Now() - KEPT_FOR).order_by("created_at")
    with transaction.atomic():
        # Those that somebody else is deleting just now are that one's to delete.
        found = expired.select_for_update(skip_locked=True).values_list("pk", flat=True)
        deleted, _ = IdempotencyKey.objects.filter(pk__in=list(found[:_FORGOTTEN_AT_ONCE])).delete()
        return deleted


class _Kept(NamedTuple):
    pk: int
    request_hash: str
    status: int
    answer: Any
    headers: dict[str, str]
    has_expired: bool


_by_key: Final = Compiled(
    lambda owner, key: IdempotencyKey.objects.filter(owner=owner, key=key).values_list(
        *_Kept._fields[:-1],
        ExpressionWrapper(Q(created_at__lte=Now() - KEPT_FOR), output_field=BooleanField()),
    )
)


def _kept(request: Request, key: str) -> _Kept | None:
    """What is kept under the key; what has expired is deleted, because it would block the next one."""
    found = next(map(_Kept._make, _by_key.rows(owner=request.user.pk, key=key)), None)
    if found is not None and found.has_expired:
        IdempotencyKey.objects.filter(pk=found.pk).delete()
        return None
    return found


def _keep(request: Request, key: str, request_hash: str, response: Response) -> None:
    """Last, so that it is one statement. A twin that has come as far waits here for the commit."""
    insert(
        IdempotencyKey(
            owner=request.user,  # type: ignore[misc]
            key=key,
            request_hash=request_hash,
            status=response.status_code,
            answer=json.loads(JSONRenderer().render(response.data)),
            headers={name: response[name] for name in _KEPT_HEADERS if name in response},
        )
    )


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
