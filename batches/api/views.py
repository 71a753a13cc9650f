"""The REST API of batches. Each action parses, makes one call, and renders."""

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.viewsets import GenericViewSet

from accounts.idempotency import idempotent
from accounts.keys.authentication import key_of
from accounts.ownership import get_owned, owned_by
from api.addresses.identifiers import ANY_CASE_UUID
from api.addresses.parameters import parameters_of
from api.bodies.fields import refuse_fields
from api.openapi.headers import IDEMPOTENCY_KEY, REPLAYED
from batches.api import examples
from batches.api import serializers as wire
from batches.api.create_views import LOCATION, accept, estimate_of, query_of, upload_of
from batches.api.formats import MANIFEST_FORMATS, UPLOAD_FORMATS
from batches.api.shown import shown_batch
from batches.lifecycle.cancel import cancel_batch
from batches.lifecycle.pause import pause, resume
from batches.lifecycle.retry import retry_failed
from batches.models import Batch
from batches.progress import tallies
from batches.uploads.parsers import PARSERS, UploadFormParser
from batches.uploads.stored import Upload
from videos.api.queries import owned_jobs, paginate
from videos.api.serializers.listing import JobPage, PageQuery
from videos.api.show import show_jobs
from videos.reads.rows import rows_of


class BatchViewSet(GenericViewSet[Batch]):
    """Batches of the caller."""

    serializer_class = wire.BatchView
    lookup_value_converter = ANY_CASE_UUID
    pagination_class = None
    parser_classes: Any = (*api_settings.DEFAULT_PARSER_CLASSES, *PARSERS, UploadFormParser)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses parameters and bodies that the call would ignore."""
        super().initial(request, *args, **kwargs)
        if self.action in {"retrieve", "destroy", "pause", "resume", "retry"}:
            refuse_fields(parameters_of(request))
        if self.action not in {"create", "estimate", None}:
            refuse_fields(request.data)

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Batch.objects.none()
        mine = owned_by(Batch.objects.all(), self.request.user, through="group__")  # type: ignore[arg-type]
        return mine.select_related("group")

    def get_object(self) -> Batch:
        owner: Any = self.request.user
        return get_owned(Batch.objects.select_related("group"), owner, self.kwargs["pk"], through="group__")

    def _jobs(self, batch: Batch) -> Any:
        return owned_jobs(self.request.user).filter(group=batch.pk)  # type: ignore[arg-type]

    def _batch(self, batch: Batch) -> Response:
        pks = list(self._jobs(batch).order_by("id").values_list("pk", flat=True)[: wire.INLINED_MAX])
        shown = shown_batch(batch, tallies([batch.pk])[batch.pk])
        shown |= {"jobIds": pks, "jobs": show_jobs(rows_of(pks), self.request)}
        return Response({"success": True, "data": wire.BatchView(shown).data})

    @extend_schema(
        operation_id="uploadBatch",
        summary="Ask for many videos by a file",
        request=UPLOAD_FORMATS,
        parameters=[wire.UploadQuery, IDEMPOTENCY_KEY, REPLAYED, LOCATION],
        responses={201: wire.BatchAccepted},
        examples=examples.UPLOAD,
    )
    def create(self, request: Request) -> Response:
        """Creates a batch from CSV with a header, or JSON Lines, in UTF-8. Each row is an item.

        An item has the fields of a create and `ref`. All items are accepted or none. If some are bad, each
        bad line is named.
        """
        with upload_of(request) as upload:
            return idempotent(request, lambda: self._create(request, upload))

    def _create(self, request: Request, upload: Upload) -> Response:
        asked, defaults = query_of(request, upload)
        return accept(request, upload, asked, defaults)

    @extend_schema(
        operation_id="estimateUpload",
        summary="What a file of videos would cost",
        request=UPLOAD_FORMATS,
        parameters=[wire.UploadQuery],
        responses={200: wire.BatchEstimate},
        examples=examples.UPLOAD_ESTIMATE,
    )
    @action(detail=False, methods=["post"])
    def estimate(self, request: Request) -> Response:
        """Validates, fits and prices like a create, and creates nothing."""
        with upload_of(request) as upload:
            _, defaults = query_of(request, upload)
            return estimate_of(request, upload, defaults)

    @extend_schema(
        operation_id="listBatches",
        summary="List batches",
        parameters=[PageQuery],
        responses={200: forced_singular_serializer(wire.BatchPage)},  # type: ignore[no-untyped-call]
        examples=examples.LIST,
    )
    def list(self, request: Request) -> Response:
        """Lists batches, newest first, by page or by cursor, without their jobs."""
        query = PageQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        page = paginate(self.get_queryset(), query.validated_data)
        counted = tallies(batch.pk for batch in page.rows)
        shown = [shown_batch(batch, counted[batch.pk]) for batch in page.rows]
        data = wire.BatchSummary(shown, many=True).data
        return Response({"success": True, "data": data, "pagination": page.pagination})

    @extend_schema(
        operation_id="getBatch",
        summary="Follow a batch",
        responses={200: wire.BatchView},
        examples=examples.BATCH,
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        """Shows a batch with its progress and its first jobs."""
        return self._batch(self.get_object())

    @extend_schema(
        operation_id="cancelBatch",
        summary="Cancel a batch",
        responses={200: wire.BatchCancelled},
        examples=examples.CANCELLED,
    )
    def destroy(self, request: Request, pk: str) -> Response:
        """Cancels all its jobs that have not ended, and says what happens upstream."""
        batch = self.get_object()
        done = cancel_batch(batch)
        message = (
            "This upstream cannot stop what it renders: it runs on there and is paid if it completes."
            if done.not_stopped
            else "Nothing of it runs on upstream."
        )
        summary = {
            "total": done.total,
            "stopped": done.stopped,
            "alreadyFinished": done.already_finished,
            "notStopped": done.not_stopped,
        }
        answer = {"batchId": str(batch.pk), "status": "cancelled", "message": message, "summary": summary}
        return Response({"success": True, "data": answer})

    @extend_schema(
        operation_id="listBatchJobs",
        summary="List a batch's jobs",
        parameters=[wire.JobsQuery],
        responses={200: forced_singular_serializer(JobPage)},  # type: ignore[no-untyped-call]
        examples=examples.JOBS,
    )
    @action(detail=True, methods=["get"])
    def jobs(self, request: Request, pk: str) -> Response:
        """Lists its jobs in the order of the items, by page or by cursor."""
        query = wire.JobsQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        jobs = self._jobs(self.get_object()).values_list("pk", flat=True)
        if "status" in query.validated_data:
            jobs = jobs.filter(status=query.validated_data["status"])
        page = paginate(jobs, query.validated_data, oldest_first=True)
        data = show_jobs(rows_of(page.rows), request)
        return Response({"success": True, "data": data, "pagination": page.pagination})

    @extend_schema(
        operation_id="pauseBatch",
        summary="Pause a batch",
        request=None,
        responses={200: wire.BatchView},
        examples=examples.BATCH,
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Sends none of its jobs until it is resumed. Jobs that were sent continue."""
        pause(self.get_object())
        return self._batch(self.get_object())

    @extend_schema(
        operation_id="resumeBatch",
        summary="Resume a batch",
        request=None,
        responses={200: wire.BatchView},
        examples=examples.BATCH,
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Ends a pause."""
        resume(self.get_object())
        return self._batch(self.get_object())

    @extend_schema(
        operation_id="retryBatch",
        summary="Retry what failed of a batch",
        parameters=[IDEMPOTENCY_KEY, REPLAYED],
        request=None,
        responses={200: wire.BatchRetried},
        examples=examples.RETRIED,
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Retries the jobs that failed. A paid render that still runs is not paid again."""
        return idempotent(request, self._retry)

    def _retry(self) -> Response:
        batch = self.get_object()
        retried = retry_failed(batch, api_key=key_of(self.request))
        now = tallies([batch.pk])[batch.pk].status(cancelled=False)
        answer = {"batchId": str(batch.pk), "status": now, "retried": retried}
        return Response({"success": True, "data": answer})

    @extend_schema(
        operation_id="getBatchManifest",
        summary="Download a batch's results as a table",
        parameters=[wire.ManifestQuery],
        responses={(200, "text/csv"): str, (200, "application/x-ndjson"): str},
    )
    @action(detail=True, methods=["get"])
    def manifest(self, request: Request, pk: str) -> StreamingHttpResponse:
        """One row for each job: the request, the status, the address of the file, the cost."""
        query = wire.ManifestQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        batch = self.get_object()
        kind = query.validated_data["type"]
        content_type, lines = MANIFEST_FORMATS[kind]
        response = StreamingHttpResponse(
            lines(batch.pk, self.get_serializer_context()), content_type=content_type
        )
        response["Content-Disposition"] = f'attachment; filename="{batch.pk}.{kind}"'
        return response
