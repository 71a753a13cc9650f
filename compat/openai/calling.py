"""What all calls of OpenAI's Videos API share. Errors have OpenAI's envelope: see api.envelopes."""

import math
from collections.abc import Callable
from typing import Any, Final

from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.keys.authentication import ApiKeyAuthentication
from accounts.models import User
from api.addresses.parameters import parameters_of
from api.bodies.fields import refuse_fields
from api.bodies.form import FormParser
from api.requests import StrictJSONParser
from compat.openai.shown import pk_of, video_of
from videos.api.queries import owned_jobs
from videos.lifecycle.backoff import poll_interval
from videos.models import Job
from videos.reads.rows import owned_row
from videos.states import JOB_OPEN

# Ours, by the names that callers of this API have for them.
_NAMES: Final = {
    "duration": "seconds",
    "resolution": "size",
    "aspectRatio": "size",
    "inputReference": "input_reference",
}


class StillRuns(APIException):
    """400: what runs is not deleted."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "job_not_completed"
    default_detail = "Video is still being processed. DELETE /api/v1/videos/{id} cancels it."


class VideoAPIView(APIView):
    """A call with a key, in JSON or as a form."""

    authentication_classes = (ApiKeyAuthentication,)
    parser_classes = (StrictJSONParser, FormParser)
    # OpenAI describes this API; ours does not describe it again.
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses parameters that the call would ignore."""
        super().initial(request, *args, **kwargs)
        if request.method not in SAFE_METHODS:
            refuse_fields(parameters_of(request))

    def handle_exception(self, exc: Exception) -> Response:
        """Tells SDKs not to repeat what was refused for certain. They would send the same create again, and
        be answered with an older one that is equal to it."""
        answer: Response = super().handle_exception(exc)
        if not isinstance(exc, DatabaseError):
            answer["x-should-retry"] = "false"
        return answer

    def owner(self, request: Request) -> User:
        """The account of the key."""
        owner: User = request.user  # type: ignore[assignment]
        return owner

    def jobs(self, request: Request) -> QuerySet[Job]:
        """The jobs that a caller sees here: those that are not deleted."""
        return owned_jobs(self.owner(request)).filter(deleted_at=None)

    def job(self, request: Request, video_id: str, jobs: QuerySet[Job] | None = None) -> Job:
        """The job of an id, of these or of those that a caller sees. Raises NotFound."""
        pk = pk_of(video_id)
        jobs = self.jobs(request) if jobs is None else jobs
        job = None if pk is None else jobs.filter(pk=pk).first()
        if job is None:
            raise NotFound(f"Video with id '{video_id[:100]}' not found.")
        return job

    def shown(self, request: Request, job: Job) -> Response:
        """The video as it is now, and how long to wait before the next look."""
        row = owned_row(request.user, job.pk)
        if row is None:
            raise Http404
        answer = Response(video_of(row))
        if row.status in JOB_OPEN:
            # The SDKs' loops wait for so long between two reads.
            answer["openai-poll-after-ms"] = str(math.ceil(poll_interval(row.age) * 1000))
        return answer


def in_their_words(call: Callable[[], Response]) -> Response:
    """Names the fields of a refusal as callers of this API know them."""
    try:
        return call()
    except ValidationError as error:
        if not isinstance(error.detail, dict):
            raise
        detail: dict[str, Any] = {}
        for name, problems in error.detail.items():
            # Of two of ours that are one of theirs, the first says enough.
            detail.setdefault(_NAMES.get(name, name), problems)
        raise ValidationError(detail) from None
    except APIException as error:
        extra = getattr(error, "extra", None)
        if isinstance(extra, dict) and "field" in extra:
            extra["field"] = _NAMES.get(extra["field"], extra["field"])
        raise
