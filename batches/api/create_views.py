"""Creating batches from JSON, and what creating them from a file shares with it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.budgets.reservations import dollars, remaining
from accounts.idempotency import idempotent
from accounts.keys.authentication import key_of
from api.addresses.parameters import parameters_of
from api.bodies.fields import StrictSerializer
from api.bodies.typed_text import typed
from api.openapi.headers import IDEMPOTENCY_KEY, REPLAYED, header
from batches.api import examples
from batches.api import serializers as wire
from batches.items import NOTHING_SENT, BadItems, Items, Listed, Source
from batches.lifecycle.create import Plan, create_batch
from batches.models import Batch
from batches.uploads.stored import Upload
from upstreams.offer import pricing
from videos.api.serializers.create import CreateVideo

LOCATION: Final = header("Location", [201], "The batch's address.")


def accept(
    request: Request, source: Source, asked: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Response:
    """Creates a batch and answers with what was accepted."""
    accepted = create_batch(
        Items(source, defaults, request.user),  # type: ignore[arg-type]
        owner=request.user,  # type: ignore[arg-type]
        api_key=key_of(request),
        **{name: asked[name] for name in ("name", "metadata", "concurrency") if name in asked},
    )
    answer = {
        "batchId": str(accepted.batch.pk),
        "jobIds": [str(pk) for pk in accepted.job_ids],
        "total": accepted.batch.total,
        "status": "pending",
        "message": "The videos are queued.",
        "adjusted": accepted.plan.adjusted,
        "skippedRows": source.skipped,
        "tolerated": [each._asdict() for each in source.tolerated],
        "estimatedCost": dollars(accepted.plan.total),
    }
    location = request.build_absolute_uri(f"/api/v1/batches/{accepted.batch.pk}")
    headers = {"Location": location}
    return Response({"success": True, "data": answer}, status.HTTP_201_CREATED, headers=headers)


def estimate_of(request: Request, source: Source, defaults: Mapping[str, Any]) -> Response:
    """Answers with what a create would send and cost."""
    plan = Plan()
    first: list[dict[str, Any]] = []
    for item in Items(source, defaults, request.user).check():  # type: ignore[arg-type]
        plan.add(item)
        if len(first) < wire.INLINED_MAX:
            sent = item.fitted.request
            first.append(
                {
                    "ref": item.ref or None,
                    "submitted": {"model": sent.model, "seconds": sent.seconds, "size": sent.size},
                    "adjustments": item.fitted.adjustments,
                    "estimatedCost": dollars(item.fitted.price),
                }
            )
    answer = {
        "total": len(plan.prices),
        "adjusted": plan.adjusted,
        "unpriced": plan.unpriced,
        "skippedRows": source.skipped,
        "tolerated": [each._asdict() for each in source.tolerated],
        "estimatedCost": dollars(plan.total),
        "currency": pricing.CURRENCY,
        "items": first,
        "budgets": remaining(request.user, key_of(request)),  # type: ignore[arg-type]
    }
    return Response({"success": True, "data": answer})


@contextmanager
def upload_of(request: Request) -> Iterator[Upload]:
    """The uploaded file, while it is open. Raises UnsupportedMediaType for anything else."""
    upload: Any = request.data
    if not upload:
        raise BadItems([NOTHING_SENT])
    if not isinstance(upload, Upload):
        kinds = "text/csv, application/x-ndjson or application/jsonl"
        detail = f"Send a file as {kinds}; JSON goes to /api/v1/videos/batch."
        raise UnsupportedMediaType(request.content_type or "", detail)
    with upload.file:
        yield upload


def query_of(request: Request, upload: Upload) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the batch, and the defaults of its items."""
    raw = {name: typed(name, value) for name, value in parameters_of(request).items()}
    query = wire.UploadQuery(data=raw)
    query.is_valid(raise_exception=True)
    of_items = CreateVideo().fields.keys() - {"metadata"}
    defaults = {name: value for name, value in raw.items() if name in of_items}
    upload.given = defaults.keys()
    return query.validated_data, defaults


class VideoBatchViewSet(GenericViewSet[Batch]):
    """Batches as JSON."""

    serializer_class = wire.BatchView

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses parameters and bodies that the call would ignore."""
        super().initial(request, *args, **kwargs)
        StrictSerializer(data=parameters_of(request)).is_valid(raise_exception=True)

    @extend_schema(
        operation_id="createBatch",
        summary="Ask for several videos",
        request=wire.CreateBatch,
        parameters=[IDEMPOTENCY_KEY, REPLAYED, LOCATION],
        responses={201: wire.BatchAccepted},
        examples=examples.CREATE,
    )
    def create(self, request: Request) -> Response:
        """Accepts all items or none. They are committed when the answer comes."""
        return idempotent(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        serializer, source, defaults = self._read(request)
        return accept(request, source, serializer.validated_data, defaults)

    @extend_schema(
        operation_id="estimateBatch",
        summary="What several videos would cost",
        request=wire.CreateBatch,
        responses={200: wire.BatchEstimate},
        examples=examples.ESTIMATE,
    )
    def estimate(self, request: Request) -> Response:
        """Validates, fits and prices like a create, and creates nothing."""
        _, source, defaults = self._read(request)
        return estimate_of(request, source, defaults)

    def _read(self, request: Request) -> tuple[wire.CreateBatch, Source, dict[str, Any]]:
        serializer = wire.CreateBatch(data=request.data)
        serializer.is_valid(raise_exception=True)
        # As they were sent: each item is validated together with them.
        return (
            serializer,
            Listed(serializer.validated_data["videos"]),
            dict(serializer.initial_data.get("defaults", {})),
        )
