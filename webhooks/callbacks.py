"""Receives the callbacks of upstreams that were named an address in a create: OpenRouter's form."""

import hashlib
import hmac
import logging
import time
from collections.abc import Iterable
from typing import Any, Final

from django.http import Http404
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from upstreams import registry
from upstreams.calls.brief_calls import TooSlow
from upstreams.client import errors
from videos.lifecycle.callbacks import settle, submission_of
from videos.lifecycle.following.poll import UpstreamUnavailable
from webhooks.signatures import TOLERANCE_SECONDS, Refused
from webhooks.views import Forged, body_of

logger = logging.getLogger(__name__)

_SIGNATURE: Final = "X-OpenRouter-Signature"


class CallbackData(serializers.Serializer[Any]):
    """What a callback is about."""

    id = serializers.CharField(
        trim_whitespace=False, max_length=2000, help_text="The upstream's id of the video."
    )


class Callback(serializers.Serializer[Any]):
    """The fields of a callback that are read. Others are ignored."""

    type = serializers.CharField(help_text="Such as video.generation.completed; each type counts alike.")
    data = CallbackData()  # type: ignore[assignment]


def verify(header: str, body: bytes, secrets: Iterable[str]) -> None:
    """Checks `t=<Unix seconds>,v1=<hex>`, the HMAC-SHA256 of the time, a comma and the body. Raises Refused.

    The form is from OpenRouter's guide (mid-2026).
    """
    fields = dict(part.strip().partition("=")[::2] for part in header.split(","))
    try:
        age = abs(int(time.time()) - int(fields.get("t", "")))
    except ValueError:
        raise Refused(f"{_SIGNATURE} has no time.") from None
    if age > TOLERANCE_SECONDS:
        raise Refused(f"{_SIGNATURE} is too old or too new.")
    signed = f"{fields['t']},".encode() + body
    for secret in secrets:
        made = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        if hmac.compare_digest(made.encode(), fields.get("v1", "").encode()):
            return
    raise Refused(f"{_SIGNATURE} is not right.")


class CallbackView(APIView):
    """Receives callbacks. The token of the address is the authentication; a signature is one more."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    @extend_schema(
        operation_id="receiveCallback",
        summary="Take an upstream's callback",
        tags=["hooks"],
        auth=[],
        parameters=[
            OpenApiParameter(
                "token",
                str,
                OpenApiParameter.PATH,
                description="One for each create; it names the submission.",
            ),
            OpenApiParameter(
                _SIGNATURE,
                str,
                OpenApiParameter.HEADER,
                description="`t=<Unix seconds>,v1=<hex>`; required if the upstream has a webhook secret.",
            ),
        ],
        request=Callback,
        responses={
            204: OpenApiResponse(description="Taken; or taken before."),
            400: OpenApiResponse(description="`malformed_body` or `validation_failed`."),
            401: OpenApiResponse(description="`invalid_signature`: forged, too old, or the clocks differ."),
            404: OpenApiResponse(description="`not_found`: no create of ours has named this address."),
            411: OpenApiResponse(description="`length_required`."),
            413: OpenApiResponse(description="`payload_too_large`: more than 65536 bytes."),
            415: OpenApiResponse(description="`unsupported_media_type`: not JSON."),
            503: OpenApiResponse(description="`upstream_unavailable`: send it again."),
        },
        examples=[
            OpenApiExample(
                "Completed",
                value={
                    "type": "video.generation.completed",
                    "created_at": "2026-10-02T12:00:00.000Z",
                    "data": {"id": "gen-vid-1759406400-abcdefghij0123456789", "status": "completed"},
                },
                request_only=True,
            )
        ],
    )
    def post(self, request: Request, token: str) -> Response:
        """Takes a callback. Its submission gets the video that it names, if the upstream has that video."""
        body = body_of(request)
        submission = submission_of(token)
        if submission is None:
            raise Http404
        upstream = registry.configured().get(submission.provider.name)
        if upstream is not None and upstream.webhook_secrets:
            try:
                verify(request.headers.get(_SIGNATURE, ""), body, upstream.webhook_secrets)
            except Refused as refusal:
                logger.warning("A callback of %s was refused: %s", submission, refusal)
                raise Forged(str(refusal)) from refusal
        callback = Callback(data=request.data)
        callback.is_valid(raise_exception=True)
        try:
            settle(submission, callback.validated_data["data"]["id"])
        except TooSlow as slow:
            raise UpstreamUnavailable(errors.Unavailable("It does not answer in time.")) from slow
        except errors.SoraError as error:
            raise UpstreamUnavailable(error) from error
        return Response(status=status.HTTP_204_NO_CONTENT)
