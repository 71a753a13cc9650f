"""The address of a batch's videos."""

from typing import cast

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User
from accounts.ownership import get_owned
from api.addresses.parameters import parameters_of
from api.bodies.fields import refuse_fields
from api.openapi.headers import IF_NONE_MATCH, header
from batches.models import Batch
from batches.results import zip_of
from videos.api.content.files import MediaUnavailable
from videos.api.content.serving import Streamed, stream


class BatchContentView(APIView):
    """The videos of a batch."""

    @extend_schema(
        operation_id="getBatchContent",
        summary="Download all videos of a batch",
        parameters=[
            OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="One range: `bytes=0-1023`."),
            OpenApiParameter(
                "If-Range",
                str,
                OpenApiParameter.HEADER,
                description="The range comes only from the archive with this ETag, and the whole otherwise.",
            ),
            IF_NONE_MATCH,
            header("ETag", [200, 206, 304], "Changes with any file of it."),
            header("Content-Range", [206], "Which bytes of how many these are."),
        ],
        responses={
            (200, "application/zip"): bytes,
            (206, "application/zip"): bytes,
            304: OpenApiResponse(description="Nothing has changed."),
        },
    )
    def get(self, request: Request, pk: str) -> HttpResponseBase:
        """The videos that are there by now as one ZIP file (ZIP64, not compressed), each named by its `ref`
        or its number, with the manifest as CSV and JSON Lines, whose column `file` names them."""
        refuse_fields(parameters_of(request))
        refuse_fields(request.data)
        owner = cast(User, request.user)
        batch = get_owned(Batch.objects.select_related("group"), owner, pk, through="group__")
        try:
            zipped = zip_of(batch.pk, batch.created_at, {"request": request})
        except OSError as error:
            raise MediaUnavailable from error
        streamed = Streamed(zipped.size, zipped.tag, "application/zip", f"{batch.pk}.zip", zipped.read)
        return stream(request, streamed)
