"""The actions that make a video from the video of a job."""

from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.idempotency import idempotent
from accounts.keys.authentication import key_of
from api.openapi.headers import IDEMPOTENCY_KEY, REPLAYED, header
from api.requests import StrictJSONParser
from videos.api import examples
from videos.api.content.files import NotCompleted
from videos.api.serializers.create import Accepted, video_request_of
from videos.api.serializers.from_source import ChangeVideo, ExtendVideo
from videos.api.show import show_accepted
from videos.lifecycle.from_source import create_from
from videos.models import Job
from videos.states import JobStatus

_ANSWER: Final[dict[str, Any]] = {
    "parameters": [IDEMPOTENCY_KEY, REPLAYED, header("Location", [201], "The new job's address.")],
    "responses": {201: Accepted},
}
_ACTION: Final[dict[str, Any]] = {
    "detail": True,
    "methods": ["post"],
    "parser_classes": (StrictJSONParser,),
}


class FromSource(GenericViewSet[Job]):
    """Remix, edit and extend: each makes a job of its own, with a price of its own."""

    @extend_schema(
        operation_id="remixVideo",
        summary="Remix a video",
        request=ChangeVideo,
        examples=examples.REMIX,
        **_ANSWER,
    )
    @action(**_ACTION)
    def remix(self, request: Request, pk: str) -> Response:
        """Renders the video of a completed job anew with another prompt, at the upstream that rendered it."""
        return self._from_source(request, "remix", ChangeVideo)

    @extend_schema(
        operation_id="editVideo",
        summary="Edit a video",
        request=ChangeVideo,
        examples=examples.EDIT,
        **_ANSWER,
    )
    @action(**_ACTION)
    def edit(self, request: Request, pk: str) -> Response:
        """Changes the video of a completed job as the prompt says, at the upstream that rendered it."""
        return self._from_source(request, "edit", ChangeVideo)

    @extend_schema(
        operation_id="extendVideo",
        summary="Extend a video",
        request=ExtendVideo,
        examples=examples.EXTEND,
        **_ANSWER,
    )
    @action(**_ACTION)
    def extend(self, request: Request, pk: str) -> Response:
        """Adds `duration` seconds to the video of a completed job, at the upstream that rendered it."""
        return self._from_source(request, "extend", ExtendVideo)

    def _from_source(self, request: Request, operation: str, body: type[ChangeVideo]) -> Response:
        return idempotent(request, lambda: self._create_from(request, operation, body))

    def _create_from(self, request: Request, operation: str, body: type[ChangeVideo]) -> Response:
        checked = body(data=request.data)
        checked.is_valid(raise_exception=True)
        source = self.get_object()
        if source.status != JobStatus.COMPLETED:
            raise NotCompleted(source)
        asked, _ = video_request_of(checked.validated_data)
        job = create_from(source, operation, asked, owner=request.user, api_key=key_of(request))  # type: ignore[arg-type]
        return show_accepted(job, request)
