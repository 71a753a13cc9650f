"""Kept pictures: of a job, and as they are sent."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.files.storage import default_storage

from upstreams.client.types import CreateRequest, Picture
from upstreams.offer.request import AskedPicture
from videos.models import Job, ReferenceImage
from videos.models.reference import ROLES
from videos.references.images import Checked, Fit, fit
from videos.results.media import media_problem


class ReferenceGone(Exception):
    """The file of a picture is not there or is damaged, although the media folder is there."""


def pictures_of(request: CreateRequest) -> Mapping[str, Picture] | None:
    """What is sent of the pictures of a request, in the size of its video if that was asked for.

    Raises ReferenceGone; and OSError, which says nothing about the picture.
    """
    named = {role: pk for role in ROLES if (pk := getattr(request, role)) is not None}
    return {role: _picture(pk, request) for role, pk in named.items()} or None


def _picture(pk: str, request: CreateRequest) -> Picture:
    row = ReferenceImage.objects.filter(pk=pk).first()
    if row is None:
        raise ReferenceGone("The picture was removed.")
    try:
        with default_storage.open(row.file) as file:
            data = file.read()
    except FileNotFoundError as error:
        if problem := media_problem():
            raise OSError(problem) from error
        raise ReferenceGone("The file of the picture is gone.") from error
    if len(data) != row.file_size:
        raise ReferenceGone("The file of the picture is damaged.")
    # The choices of the column are those of the class.
    kind: Any = row.format
    checked = Checked(kind, row.width, row.height, row.sha256, data)
    if request.image_fit:
        width, height = (int(side) for side in request.size.split("x"))
        data = _fitted(checked, width, height, Fit(request.image_fit))
    return Picture(data, checked.content_type)


def _fitted(checked: Checked, width: int, height: int, how: Fit) -> bytes:
    try:
        return fit(checked, width, height, how)
    except MemoryError as error:
        raise OSError("there is no memory to fit it") from error
    except Exception as error:
        # It was decoded when it was taken, so its file has changed. A decoder may raise anything.
        raise ReferenceGone("The file of the picture is damaged.") from error


def as_asked(row: ReferenceImage) -> AskedPicture:
    """A kept picture, as a request names it."""
    return AskedPicture(str(row.pk), row.width, row.height)


def pictures_of_job(job: Job) -> dict[str, AskedPicture]:
    """The pictures that a job asked for, by the fields of VideoRequest."""
    ids = {role: pk for role in ROLES if (pk := job.fitted.get(role))}
    rows = ReferenceImage.objects.in_bulk(list(ids.values())) if ids else {}
    return {role: as_asked(rows[UUID(pk)]) for role, pk in ids.items()}
