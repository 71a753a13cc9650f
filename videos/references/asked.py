"""The pictures of a request: what a caller may give for one, and what becomes of it."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any, Final
from uuid import UUID

from django.db.models.functions import Now
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, ValidationError

from accounts.models import User
from accounts.ownership import owned_by
from upstreams.clock import in_database
from upstreams.offer.request import PICTURES, AskedPicture, VideoRequest
from videos.models import ReferenceImage
from videos.references.fetch import AddressRefused, NotFetched, fetch
from videos.references.images import Checked, check
from videos.references.keep import NAMED_LATELY_SECONDS, keep
from videos.references.layout import ImageRefused
from videos.references.load import as_asked

# A fetch holds a thread of the web process until the other side has sent everything.
_FETCHES: Final = 4
_FETCHES_OF_ONE_OWNER: Final = 2
# Decoding takes far more memory than the file.
_CHECKS: Final = 2
# Whoever waits for a check holds a thread as well, which others need for their reads.
_WAITING: Final = 4
_CHECK_WAIT_SECONDS: Final = 1.0
_fetching: Counter[int] = Counter()
_fetching_lock = threading.Lock()
_checks = threading.BoundedSemaphore(_CHECKS)
_waiting = threading.BoundedSemaphore(_WAITING)


class ImagesBusy(APIException):
    """503: too many pictures are being taken at the moment."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "images_busy"
    default_detail = "Too many pictures come in at the moment, and nothing was accepted; send it again soon."
    wait = 5.0


@dataclass(frozen=True, slots=True)
class GivenPicture:
    """What a caller gave for a picture: one of an https address, a file, and the id of a kept one."""

    url: str = ""
    file: IO[bytes] | None = None
    id: UUID | None = None


def with_pictures(asked: VideoRequest, given: Mapping[str, GivenPicture], owner: User) -> VideoRequest:
    """The request with its pictures, which are fetched, checked and kept. Called in no transaction.

    Raises ValidationError for an unknown id; ImageRefused, AddressRefused, NotFetched, ImagesBusy; and what
    `videos.references.keep.keep` raises.
    """
    found: dict[str, Any] = {name: _kept(name, picture, owner) for name, picture in given.items()}
    return replace(asked, **found)


def with_measured(asked: VideoRequest, given: Mapping[str, GivenPicture], owner: User) -> VideoRequest:
    """The same for an estimate: nothing is kept."""
    found: dict[str, Any] = {}
    for name, picture in given.items():
        if picture.id is not None:
            found[name] = known(name, picture.id, owner)
        else:
            with _named(name):
                checked = _checked(picture, owner)
            found[name] = AskedPicture("", checked.width, checked.height)
    return replace(asked, **found)


def take(given: GivenPicture, owner: User) -> ReferenceImage:
    """Fetches, checks and keeps a picture. Raises as with_pictures."""
    return keep(_checked(given, owner), owner)


def _kept(name: str, given: GivenPicture, owner: User) -> AskedPicture:
    if given.id is not None:
        return known(name, given.id, owner)
    with _named(name):
        return as_asked(take(given, owner))


def known(name: str, pk: UUID, owner: User) -> AskedPicture:
    """A kept picture by its id. Raises ValidationError, which names the field."""
    rows = owned_by(ReferenceImage.objects.all(), owner).filter(pk=pk)
    # From now on it is used, and not swept away before its job is there.
    rows.filter(used_at__lt=in_database(-NAMED_LATELY_SECONDS)).update(used_at=Now())
    if (row := rows.first()) is None:
        message = "There is no such picture; upload it with POST /api/v1/images."
        raise ValidationError({PICTURES[name]: [ErrorDetail(message, code="not_found")]})
    return as_asked(row)


def _checked(given: GivenPicture, owner: User) -> Checked:
    if given.file is None:
        with _fetch_turn(owner):
            data = fetch(given.url)
    with _check_turn():
        return check(data if given.file is None else given.file.read())


@contextmanager
def _check_turn() -> Iterator[None]:
    """One of the few checks at a time. A few may wait for it, and not for long."""
    if not _checks.acquire(blocking=False):
        if not _waiting.acquire(blocking=False):
            raise ImagesBusy
        try:
            is_mine = _checks.acquire(timeout=_CHECK_WAIT_SECONDS)
        finally:
            _waiting.release()
        if not is_mine:
            raise ImagesBusy
    try:
        yield
    finally:
        _checks.release()


@contextmanager
def _fetch_turn(owner: User) -> Iterator[None]:
    """One of the few fetches at a time. An owner whose hosts are slow leaves some to the others."""
    with _fetching_lock:
        if _fetching.total() >= _FETCHES or _fetching[owner.pk] >= _FETCHES_OF_ONE_OWNER:
            raise ImagesBusy
        _fetching[owner.pk] += 1
    try:
        yield
    finally:
        with _fetching_lock:
            _fetching[owner.pk] -= 1
            if not _fetching[owner.pk]:
                del _fetching[owner.pk]


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Adds the field to what is said about a picture."""
    try:
        yield
    except (ImageRefused, AddressRefused, NotFetched) as error:
        said: Any = error
        said.extra = {"field": PICTURES[name], **getattr(error, "extra", {})}
        raise
