"""The REST API of jobs. Each action parses, makes one call, and renders."""

import math
from typing import Any

from django.http import Http404
from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent, idempotent_after
from accounts.keys.authentication import key_of
from accounts.ownership import get_owned
from api.addresses.identifiers import ANY_CASE_UUID
from api.addresses.parameters import parameters_of
from api.bodies.fields import refuse_fields
from api.bodies.form import FormParser
from api.openapi.headers import IDEMPOTENCY_KEY, IF_NONE_MATCH, REPLAYED, header
from api.requests import StrictJSONParser
from upstreams.client.types import OPERATIONS
from upstreams.offer.request import VideoRequest
from videos.api import examples
from videos.api.asked import asked_in, estimate_of
from videos.api.conditional import etag_of, is_known
from videos.api.content.files import NotCompleted
from videos.api.fragments import listed
from videos.api.from_source import FromSource
from videos.api.queries import newest_jobs, owned_jobs
from videos.api.serializers.create import (
    Accepted,
    Cancelled,
    CreateVideo,
    CreateVideoForm,
    Estimate,
)
from videos.api.serializers.job import JobView
from videos.api.serializers.listing import JobPage, ListQuery
from videos.api.show import show_accepted, show_job
from videos.lifecycle.backoff import poll_interval
from videos.lifecycle.cancel import cancel
from videos.lifecycle.create import create
from videos.lifecycle.following.poll import ask_now
from videos.lifecycle.retry import retry
from videos.models import Job
from videos.reads.rows import JobRow, owned_row
from videos.references.asked import with_pictures
from videos.states import JOB_OPEN, JobStatus


class VideoViewSet(FromSource):
    """Jobs of the caller."""

    serializer_class = JobView
    lookup_value_converter = ANY_CASE_UUID
    parser_classes = (StrictJSONParser, FormParser)
    pagination_class = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses parameters and bodies that the call would ignore."""
        super().initial(request, *args, **kwargs)
        if self.action != "list":
            refuse_fields(parameters_of(request))
        if self.action not in {"create", "estimate", *OPERATIONS, None}:
            refuse_fields(request.data)

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Job.objects.none()
        return owned_jobs(self.request.user)  # type: ignore[arg-type]

    def get_object(self) -> Job:
        return get_owned(self.get_queryset(), self.request.user, self.kwargs["pk"])  # type: ignore[arg-type,no-any-return]

    def _row(self) -> JobRow:
        row = owned_row(self.request.user, self.kwargs["pk"])
        if row is None:
            raise Http404
        return row

    def _shown(self, **answer: Any) -> Response:
        """The job as it is now."""
        return Response({"success": True, "data": show_job(self._row(), self.request)}, **answer)

    @extend_schema(
        operation_id="createVideo",
        summary="Ask for a video",
        request={"application/json": CreateVideo, "multipart/form-data": CreateVideoForm},
        parameters=[IDEMPOTENCY_KEY, REPLAYED, header("Location", [201], "The job's address.")],
        responses={201: Accepted},
        examples=examples.CREATE,
    )
    def create(self, request: Request) -> Response:
        """Creates a job. It is committed when the answer comes. Follow it at the address in `Location`."""
        return idempotent_after(
            request,
            lambda: with_pictures(*asked_in(request), request.user),  # type: ignore[arg-type]
            lambda asked: self._create(request, asked),
        )

    def _create(self, request: Request, asked: VideoRequest) -> Response:
        job = create(asked, owner=request.user, api_key=key_of(request))  # type: ignore[arg-type]
        return show_accepted(job, request)

    @extend_schema(
        operation_id="estimateVideo",
        summary="What a video would cost",
        request={"application/json": CreateVideo, "multipart/form-data": CreateVideoForm},
        responses={200: Estimate},
        examples=examples.ESTIMATE,
    )
    @action(detail=False, methods=["post"])
    def estimate(self, request: Request) -> Response:
        """Fits and prices a request like a create, and creates nothing."""
        return Response({"success": True, "data": estimate_of(request)})

    @extend_schema(
        operation_id="listVideos",
        summary="List jobs",
        parameters=[ListQuery],
        responses={200: forced_singular_serializer(JobPage)},  # type: ignore[no-untyped-call]
        examples=examples.LIST,
    )
    def list(self, request: Request) -> Response:
        """Lists jobs, newest first, by page or by cursor."""
        query = ListQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        page = newest_jobs(request.user, query.validated_data)  # type: ignore[arg-type]
        jobs = listed(page.rows, request)
        return Response({"success": True, "data": jobs, "pagination": page.pagination})

    @extend_schema(
        operation_id="getVideo",
        summary="Follow a job",
        parameters=[
            IF_NONE_MATCH,
            header("ETag", [200, 304], "Changes when the job does."),
            header(
                "Retry-After",
                [200],
                "Seconds until it is worth asking again; not once the job has ended.",
            ),
        ],
        responses={200: JobView, 304: OpenApiResponse(description="Nothing has changed.")},
        examples=examples.JOB,
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        """Shows a job, from the database. `ETag` with `If-None-Match` saves the body."""
        job = self._row()
        data = show_job(job, request)
        headers = {"ETag": etag_of(data), "Cache-Control": "private, no-cache"}
        if job.status in JOB_OPEN:
            headers["Retry-After"] = str(math.ceil(poll_interval(job.age)))
        if is_known(request, headers["ETag"]):
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers=headers)
        return Response({"success": True, "data": data}, headers=headers)

    @extend_schema(
        operation_id="cancelVideo",
        summary="Cancel a job",
        responses={200: Cancelled},
        examples=examples.CANCELLED,
    )
    def destroy(self, request: Request, pk: str) -> Response:
        """Cancels a job at once. The message says what happens upstream."""
        job = self.get_object()
        message = cancel(job).message
        answer = {"jobId": str(job.pk), "status": JobStatus.CANCELLED, "message": message}
        return Response({"success": True, "data": answer})

    @extend_schema(
        operation_id="getVideoResult",
        summary="Get the result",
        responses={200: JobView},
        examples=examples.COMPLETED,
    )
    @action(detail=True, methods=["get"])
    def result(self, request: Request, pk: str) -> Response:
        """Shows the completed job; 400 `job_not_completed` before that."""
        job = self._row()
        if job.status != JobStatus.COMPLETED:
            raise NotCompleted(job)
        return Response({"success": True, "data": show_job(job, request)})

    @extend_schema(
        operation_id="retryVideo",
        summary="Retry a job",
        parameters=[IDEMPOTENCY_KEY, REPLAYED],
        request=None,
        responses={200: JobView},
        examples=examples.JOB,
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Retries a failed or cancelled job. A paid render that still runs is not paid again."""
        return idempotent(request, lambda: self._retry())

    def _retry(self) -> Response:
        retry(self.get_object(), api_key=key_of(self.request))
        return self._shown()

    @extend_schema(
        operation_id="syncVideo",
        summary="Ask the upstream now",
        parameters=[
            header(
                "Retry-After", [200], "Seconds until it is worth looking; only if it has not answered yet."
            )
        ],
        request=None,
        responses={200: JobView},
        examples=examples.JOB,
    )
    @action(detail=True, methods=["post"])
    def sync(self, request: Request, pk: str) -> Response:
        """Asks the upstream about this job now, and waits a second for the answer.

        If the answer has `Retry-After`, a worker is still asking, and the job is shown as it was. Read it
        again after that time.
        """
        job = self.get_object()
        headers = {} if (wait := ask_now(job)) is None else {"Retry-After": str(math.ceil(wait))}
        return self._shown(headers=headers)
