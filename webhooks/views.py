"""Receives the upstream's notifications that a render has ended."""

import logging
from typing import Any, Final

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from structlog.contextvars import bind_contextvars

from upstreams import registry
from videos.lifecycle.notification import apply_notification
from webhooks import seen
from webhooks.signatures import Refused, verify

logger = logging.getLogger(__name__)

# A hundred times what an event has.
_BODY_MAX_BYTES: Final = 65_536
# OpenAI's webhook guide: these two; a video that was cancelled upstream has no event.
_ENDS: Final = ("video.completed", "video.failed")


class Forged(APIException):
    """401: not signed with our secret, or too old."""

    status_code = status.HTTP_401_UNAUTHORIZED
    default_code = "invalid_signature"


class TooLarge(APIException):
    """413: the event is too long."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "payload_too_large"


class EventData(serializers.Serializer[Any]):
    """What an event is about."""

    id = serializers.CharField(trim_whitespace=False, help_text="The upstream's id of the video.")


class ProviderEvent(serializers.Serializer[Any]):
    """The fields of an upstream's event that are read. Others are ignored."""

    type = serializers.CharField(help_text=f"{' or '.join(_ENDS)}; any other is ignored.")
    data = EventData()  # type: ignore[assignment]


def _header(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, required=True, description=description)


class SoraHookView(APIView):
    """Receives signed events. The signature is the only authentication."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answers 404 to any method if no secret is set."""
        if not any(upstream.webhook_secrets for upstream in registry.configured()):
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(
        operation_id="receiveProviderEvent",
        summary="Take an upstream's event",
        tags=["hooks"],
        auth=[],
        parameters=[
            _header("webhook-id", "The same in each delivery of an event."),
            _header("webhook-timestamp", "Unix seconds of this delivery; at most 300 from now."),
            _header("webhook-signature", "Standard Webhooks: `v1,…` in base64; several with blanks between."),
        ],
        request=ProviderEvent,
        responses={
            204: OpenApiResponse(description="Taken; or taken before, or of a type that is ignored."),
            400: OpenApiResponse(description="`malformed_body` or `validation_failed`."),
            401: OpenApiResponse(description="`invalid_signature`: forged, replayed, or the clocks differ."),
            404: OpenApiResponse(description="`not_found`: no secret of an upstream's webhooks is set."),
            411: OpenApiResponse(description="`length_required`."),
            413: OpenApiResponse(description="`payload_too_large`: more than 65536 bytes."),
            415: OpenApiResponse(description="`unsupported_media_type`: not JSON."),
        },
        examples=[
            OpenApiExample(
                "Completed",
                value={
                    "id": "evt_abc123",
                    "object": "event",
                    "created_at": 1758941485,
                    "type": "video.completed",
                    "data": {"id": "video_abc123"},
                },
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """Takes a Standard Webhooks event. It only makes Take One ask the upstream sooner; nothing of it is
        believed."""
        body = body_of(request)
        try:
            provider, webhook_id = _verify(request, body)
        except Refused as refusal:
            logger.warning("A webhook of the upstream was refused: %s", refusal)
            raise Forged(str(refusal)) from refusal
        if not body:
            # REST framework asks no parser about it.
            raise ParseError("The body is empty; an event is a JSON object.")
        # The parser takes objects only.
        payload: Any = request.data
        if payload.get("type") in _ENDS:
            event = ProviderEvent(data=payload)
            event.is_valid(raise_exception=True)
            upstream_id = event.validated_data["data"]["id"]
            # Until the request ends: its own line has them as well.
            bind_contextvars(provider=provider, upstream_id=upstream_id[:255])
            _take(webhook_id, upstream_id, provider)
        return Response(status=status.HTTP_204_NO_CONTENT)


def body_of(request: Request) -> bytes:
    """The body as it came, of which a signature is made. Raises TooLarge."""
    # BodyLimitMiddleware has bounded what is read here.
    body: bytes = request._request.body
    if len(body) > _BODY_MAX_BYTES:
        raise TooLarge(f"The body has {len(body)} bytes; at most {_BODY_MAX_BYTES} are taken.")
    return body


def _verify(request: Request, body: bytes) -> tuple[str, str]:
    """The upstream whose secret has signed it, and the webhook's id. Raises Refused."""
    refusal: Refused | None = None
    for upstream in registry.configured():
        if not upstream.webhook_secrets:
            continue
        try:
            return upstream.name, verify(request.headers, body, upstream.webhook_secrets)
        except Refused as refused:
            refusal = refused
    raise refusal or Refused("No upstream has a secret.")


def _take(webhook_id: str, upstream_id: str, provider: str) -> None:
    if seen.was_taken(webhook_id):
        return
    # Only after it was of use: a create that was still being sent may be known at the next delivery, and the
    # database may take then what it does not take now.
    if apply_notification(upstream_id, provider=provider):
        seen.remember(webhook_id)
