"""Keeps the pictures that videos begin or end with in the media folder."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models.functions import Now
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.models import User
from videos.models import ReferenceImage
from videos.models.group import new_id
from videos.references.images import Checked
from videos.results.media import require_media

logger = logging.getLogger(__name__)

FOLDER: Final = "references"
# One that was named so lately is not marked again: batches that name the same ones, in any order, would wait
# for each other's transactions.
NAMED_LATELY_SECONDS: Final = 3_600
# Without a job a picture is removed this long after it was marked, so a day after it was last named.
UNUSED_SECONDS: Final = 86_400 + NAMED_LATELY_SECONDS
# Of one owner, without a job.
UNUSED_MAX: Final = 1_000


class StorageAway(APIException):
    """503: the picture cannot be kept now."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "media_unavailable"
    default_detail = (
        "The picture cannot be kept at the moment, and nothing was accepted; send it again later."
    )
    wait = 30.0


class TooManyImages(APIException):
    """429: this account has too many pictures that no job uses."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = "too_many_images"
    default_detail = (
        f"This account has {UNUSED_MAX} pictures that no job uses; ask for videos with them, or wait: each "
        "is removed a day after it was last named."
    )
    wait = 3_600.0


def keep(checked: Checked, owner: User) -> ReferenceImage:
    """Keeps a checked picture, or finds the same one again. Committed when this returns, if it is called
    outside a transaction. Raises StorageAway, TooManyImages."""
    same = ReferenceImage.objects.filter(owner=owner, sha256=checked.sha256)
    found = same.first()
    try:
        # Unless it is swept away just now.
        if found is not None and default_storage.exists(found.file) and same.update(used_at=Now()):
            return found
        if found is None:
            _require_room(owner)
        require_media()
        pk = new_id()
        name = _write(f"{FOLDER}/{pk.hex[-2:]}/{pk}.{checked.format}", checked.data)
    except OSError as error:
        logger.error("A picture cannot be kept: %s", error)
        raise StorageAway from error
    fields = {
        "width": checked.width,
        "height": checked.height,
        "format": checked.format,
        "file": name,
        "file_size": len(checked.data),
        "used_at": Now(),
    }
    try:
        with transaction.atomic():
            kept, _ = ReferenceImage.objects.update_or_create(
                owner=owner, sha256=checked.sha256, defaults=fields, create_defaults={"id": pk, **fields}
            )
    except Exception:
        with suppress(OSError):
            default_storage.delete(name)
        raise
    return kept


def _require_room(owner: User) -> None:
    unused = ReferenceImage.objects.filter(owner=owner, jobs=None)
    if unused[:UNUSED_MAX].count() >= UNUSED_MAX:
        raise TooManyImages


def _write(name: str, data: bytes) -> str:
    """Writes a file, safe against a power cut. Returns its name. Raises OSError."""
    kept = default_storage.save(name, ContentFile(data))
    path = Path(settings.MEDIA_ROOT) / kept
    for each in (path, path.parent):
        opened = os.open(each, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    return kept
