"""Remix, edit and extend of OpenAI's Videos API."""

from typing import ClassVar

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.keys.authentication import key_of
from api.bodies.fields import StrictSerializer
from compat.openai.bodies import EditBody, ExtendBody, RemixBody, request_of
from compat.openai.calling import StillRuns, VideoAPIView, in_their_words
from compat.openai.repeats import carried_out_once
from compat.openai.shown import id_of
from upstreams.offer.request import VideoRequest
from videos.lifecycle.from_source import create_from
from videos.models import Job
from videos.states import JobStatus


class _FromSource(VideoAPIView):
    body: ClassVar[type[StrictSerializer]]
    operation: ClassVar[str]

    def post(self, request: Request, video_id: str = "") -> Response:
        """Creates a job from a completed video."""

        def prepare() -> tuple[Job, VideoRequest]:
            asked, more = request_of(self.body(), request.data)
            source = self.job(request, video_id or more["video"]["id"])
            if source.status != JobStatus.COMPLETED:
                raise StillRuns(f"Video {id_of(source.pk)} is not completed.")
            return source, asked

        def carry_out(prepared: tuple[Job, VideoRequest]) -> Response:
            source, asked = prepared
            job = create_from(
                source, self.operation, asked, owner=self.owner(request), api_key=key_of(request)
            )
            return self.shown(request, job)

        return in_their_words(lambda: carried_out_once(request, prepare, carry_out))


class CharactersView(VideoAPIView):
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
