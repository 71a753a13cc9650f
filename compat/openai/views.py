"""The calls of OpenAI's Videos API. Errors have OpenAI's envelope: see api.errors."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Final

from django.db import DatabaseError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import Http404, HttpResponseBase
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.keys.authentication import ApiKeyAuthentication, key_of
from accounts.models import User
from api.addresses.parameters import parameters_of
from api.bodies.fields import StrictChoiceField, StrictSerializer, refuse_fields
from api.bodies.form import FormParser
from api.requests import StrictJSONParser
from compat.openai.bodies import CreateBody, EditBody, ExtendBody, RemixBody, request_of
from compat.openai.repeats import carried_out_once
from compat.openai.shown import deleted, id_of, pk_of, video_of
from upstreams import registry
from upstreams.offer.request import VideoRequest
from videos.api.content.files import FileMissing, MediaUnavailable, ResultRemoved, file_of
from videos.api.queries import owned_jobs
from videos.lifecycle.backoff import poll_interval
from videos.lifecycle.create import create
from videos.lifecycle.from_source import create_from
from videos.models import Job
from videos.reads.rows import owned_row, rows_of
from videos.references.asked import with_pictures
from videos.retention.removal import remove_result
from videos.states import JOB_OPEN, JobStatus

# Ours, by the names that callers of this API have for them.
_NAMES: Final = {
    "duration": "seconds",
    "resolution": "size",
    "aspectRatio": "size",
    "inputReference": "input_reference",
}
_VARIANTS: Final = {"video": "video", "thumbnail": "posterWebp", "spritesheet": "spritesheet"}
_PAGE: Final = 20


class NotReady(NotFound):
    """404, as OpenAI answers."""

    default_detail = "Video is not ready yet, use GET /v1/videos/{video_id} to check status."


class NoLongerThere(NotFound):
    """404, as OpenAI answers."""

    default_detail = "The video is no longer available."


class StillRuns(APIException):
    """400: what runs is not deleted."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "job_not_completed"
    default_detail = "Video is still being processed. DELETE /api/v1/videos/{id} cancels it."


class NoContent(NotFound):
    """404: it failed, and never had any."""

    default_detail = "This video has failed, and has no content."


class _View(APIView):
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

    def _owner(self, request: Request) -> User:
        owner: User = request.user  # type: ignore[assignment]
        return owner

    def _jobs(self, request: Request) -> QuerySet[Job]:
        return owned_jobs(self._owner(request)).filter(deleted_at=None)

    def _job(self, request: Request, video_id: str, jobs: QuerySet[Job] | None = None) -> Job:
        pk = pk_of(video_id)
        jobs = self._jobs(request) if jobs is None else jobs
        job = None if pk is None else jobs.filter(pk=pk).first()
        if job is None:
            raise NotFound(f"Video with id '{video_id[:100]}' not found.")
        return job

    def _shown(self, request: Request, job: Job) -> Response:
        row = owned_row(request.user, job.pk)
        if row is None:
            raise Http404
        answer = Response(video_of(row))
        if row.status in JOB_OPEN:
            # The SDKs' loops wait for so long between two reads.
            answer["openai-poll-after-ms"] = str(math.ceil(poll_interval(row.age) * 1000))
        return answer


class VideosView(_View):
    """Create and list."""

    def post(self, request: Request) -> Response:
        """Creates a job, of just the size and the length that are asked for. 200, as OpenAI answers."""

        def prepare() -> VideoRequest:
            asked, more = request_of(CreateBody(), request.data)
            asked = replace(asked, size=asked.size or registry.configured().usual_size(asked.model))
            if "input_reference" in more:
                return with_pictures(
                    asked, {"input_reference": more["input_reference"]}, self._owner(request)
                )
            return asked

        def carry_out(asked: VideoRequest) -> Response:
            return self._shown(request, create(asked, owner=self._owner(request), api_key=key_of(request)))

        return _in_their_words(lambda: carried_out_once(request, prepare, carry_out))

    def get(self, request: Request) -> Response:
        """A page of the account's videos, newest first; `after` is the last id of the page before."""
        query = ListQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        jobs = self._jobs(request)
        is_ascending = asked["order"] == "asc"
        if "after" in asked:
            # One that was deleted meanwhile has its place all the same.
            last = self._job(request, asked["after"], owned_jobs(self._owner(request)))
            if is_ascending:
                jobs = jobs.filter(Q(created_at__gt=last.created_at) | Q(pk__gt=last.pk))
                jobs = jobs.filter(created_at__gte=last.created_at)
            else:
                jobs = jobs.filter(Q(created_at__lt=last.created_at) | Q(pk__lt=last.pk))
                jobs = jobs.filter(created_at__lte=last.created_at)
        order = ("created_at", "pk") if is_ascending else ("-created_at", "-pk")
        found = list(jobs.order_by(*order).values_list("pk", flat=True)[: asked["limit"] + 1])
        shown = [video_of(row) for row in rows_of(found[: asked["limit"]])]
        return Response(
            {
                "object": "list",
                "data": shown,
                "first_id": shown[0]["id"] if shown else None,
                "last_id": shown[-1]["id"] if shown else None,
                "has_more": len(found) > asked["limit"],
            }
        )


class ListQuery(StrictSerializer):
    """The parameters of a list."""

    after = serializers.CharField(required=False, max_length=100)
    limit = serializers.IntegerField(default=_PAGE, min_value=1, max_value=100)
    order = StrictChoiceField(choices=["asc", "desc"], default="desc")


class VideoView(_View):
    """Retrieve and delete."""

    def get(self, request: Request, video_id: str) -> Response:
        """The video as it is now, from the database."""
        return self._shown(request, self._job(request, video_id))

    def delete(self, request: Request, video_id: str) -> Response:
        """Deletes a video that has ended, with its files. The job and what it cost stay."""
        job = self._job(request, video_id)
        if job.status in JOB_OPEN:
            raise StillRuns
        if job.status == JobStatus.COMPLETED:
            try:
                remove_result(job)
            except OSError as error:
                raise MediaUnavailable from error
        with transaction.atomic():
            # It may have been retried meanwhile.
            job = Job.lock(pk=job.pk)
            if job.status in JOB_OPEN:
                raise StillRuns
            Job.objects.filter(pk=job.pk).update(deleted_at=Now())
        return Response(deleted(job))


class ContentQuery(StrictSerializer):
    """The parameter of a download."""

    variant = StrictChoiceField(choices=list(_VARIANTS), default="video")


class ContentView(_View):
    """Download."""

    def get(self, request: Request, video_id: str) -> HttpResponseBase:
        """The file, with ranges: an mp4, a WebP or a JPEG."""
        query = ContentQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        job = self._job(request, video_id)
        if job.status != JobStatus.COMPLETED:
            raise NotReady if job.status in JOB_OPEN else NoContent
        wanted = query.validated_data["variant"]
        try:
            return file_of(job, _VARIANTS[wanted], request)
        except (ResultRemoved, FileMissing):
            raise NoLongerThere from None
        except ValidationError:
            # It is made some seconds after the video; of some videos none can be made.
            raise NotFound(f"This video has no {wanted}, or not yet.") from None


class _FromSource(_View):
    body: ClassVar[type[StrictSerializer]]
    operation: ClassVar[str]

    def post(self, request: Request, video_id: str = "") -> Response:
        """Creates a job from a completed video."""

        def prepare() -> tuple[Job, VideoRequest]:
            asked, more = request_of(self.body(), request.data)
            source = self._job(request, video_id or more["video"]["id"])
            if source.status != JobStatus.COMPLETED:
                raise StillRuns(f"Video {id_of(source.pk)} is not completed.")
            return source, asked

        def carry_out(prepared: tuple[Job, VideoRequest]) -> Response:
            source, asked = prepared
            job = create_from(
                source, self.operation, asked, owner=self._owner(request), api_key=key_of(request)
            )
            return self._shown(request, job)

        return _in_their_words(lambda: carried_out_once(request, prepare, carry_out))


class CharactersView(_View):
    """Not offered: no upstream is known that has them."""

    def post(self, request: Request) -> Response:
        """404."""
        raise NotFound("There are no characters here.")


class RemixView(_FromSource):
    """Remix."""

    body = RemixBody
    operation = "remix"


class EditsView(_FromSource):
    """Edit."""

    body = EditBody
    operation = "edit"


class ExtensionsView(_FromSource):
    """Extend."""

    body = ExtendBody
    operation = "extend"


def _in_their_words(call: Callable[[], Response]) -> Response:
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
