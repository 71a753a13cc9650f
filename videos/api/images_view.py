"""The REST API of pictures that videos begin or end with."""

from collections.abc import Mapping
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers, status
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.addresses.parameters import parameters_of
from api.bodies.fields import StrictSerializer
from api.bodies.form import FormParser
from api.moments import written
from api.requests import StrictJSONParser
from videos.api.examples import answer
from videos.api.serializers.picture_field import NewPictureField, PictureFileField
from videos.references.asked import take


class PictureParser(BaseParser):
    """The bytes of a picture. What they are is found out by decoding them."""

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The body as the part of a form."""
        return {"file": SimpleUploadedFile("picture", stream.read())}


class _JPEGParser(PictureParser):
    media_type = "image/jpeg"


class _PNGParser(PictureParser):
    media_type = "image/png"


class _WebPParser(PictureParser):
    media_type = "image/webp"


class ImageAddress(StrictSerializer):
    """A picture by its address."""

    url = NewPictureField(help_text="An https address of a public host, or a data URL.")


class ImageForm(StrictSerializer):
    """A form with a picture, or the picture as the whole body."""

    file = PictureFileField()


class Image(serializers.Serializer):  # type: ignore[type-arg]
    """A kept picture."""

    id = serializers.UUIDField(help_text="The value of `inputReference` or `lastFrame` in a request.")
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    format = serializers.ChoiceField(choices=["jpeg", "png"])
    fileSize = serializers.IntegerField(help_text="Bytes, as it is sent on.")
    sha256 = serializers.CharField(help_text="Of the bytes that were sent to us, in hex.")
    createdAt = serializers.DateTimeField()


_BINARY = {"type": "string", "format": "binary"}
_BYTES = "(the bytes of the file)"
_EXAMPLE = {
    "id": "0190a5c2-7e3a-7c41-9a53-1f2e3d4c5b6a",
    "width": 1280,
    "height": 720,
    "format": "png",
    "fileSize": 482113,
    "sha256": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    "createdAt": "2026-11-27T09:30:00.049Z",
}


class ImagesView(APIView):
    """Pictures of the caller."""

    parser_classes = (StrictJSONParser, FormParser, _JPEGParser, _PNGParser, _WebPParser)

    @extend_schema(
        operation_id="uploadImage",
        summary="Upload a picture",
        tags=["images"],
        request={
            "image/jpeg": _BINARY,
            "image/png": _BINARY,
            "image/webp": _BINARY,
            "multipart/form-data": ImageForm,
            "application/json": ImageAddress,
        },
        responses={201: Image},
        examples=[
            OpenApiExample(
                "By its address",
                value={"url": "https://example.com/boat.png"},
                request_only=True,
                media_type="application/json",
            ),
            *(
                OpenApiExample("The file itself", value=_BYTES, request_only=True, media_type=each)
                for each in ("image/jpeg", "image/png", "image/webp")
            ),
            OpenApiExample(
                "A form", value={"file": _BYTES}, request_only=True, media_type="multipart/form-data"
            ),
            answer(_EXAMPLE, "201"),
        ],
    )
    def post(self, request: Request) -> Response:
        """Checks a picture by decoding it, and keeps it for videos. The same picture gets the same id.

        It is removed if no job has named it for a day.
        """
        StrictSerializer(data=parameters_of(request)).is_valid(raise_exception=True)
        is_json = "url" in request.data or (request.content_type or "").startswith("application/json")
        serializer = (ImageAddress if is_json else ImageForm)(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        image = take(given["url" if is_json else "file"], request.user)  # type: ignore[arg-type]
        shown = {
            "id": str(image.pk),
            "width": image.width,
            "height": image.height,
            "format": image.format,
            "fileSize": image.file_size,
            "sha256": image.sha256,
            "createdAt": written(image.created_at),
        }
        return Response({"success": True, "data": shown}, status.HTTP_201_CREATED)
