"""Downloads of OpenAI's Videos API."""

from typing import Final

from django.http import HttpResponseBase
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request

from api.addresses.parameters import parameters_of
from api.bodies.fields import StrictChoiceField, StrictSerializer
from compat.openai.calling import VideoAPIView
from videos.api.content.files import FileMissing, ResultRemoved, file_of
from videos.states import JOB_OPEN, JobStatus

_VARIANTS: Final = {"video": "video", "thumbnail": "posterWebp", "spritesheet": "spritesheet"}


class NotReady(NotFound):
    """404, as OpenAI answers."""

    default_detail = "Video is not ready yet, use GET /v1/videos/{video_id} to check status."


class NoLongerThere(NotFound):
    """404, as OpenAI answers."""

    default_detail = "The video is no longer available."


class NoContent(NotFound):
    """404: it failed, and never had any."""

    default_detail = "This video has failed, and has no content."


class ContentQuery(StrictSerializer):
    """The parameter of a download."""

    variant = StrictChoiceField(choices=list(_VARIANTS), default="video")


class ContentView(VideoAPIView):
    """Download."""

    def get(self, request: Request, video_id: str) -> HttpResponseBase:
        """The file, with ranges: an mp4, a WebP or a JPEG."""
        query = ContentQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        job = self.job(request, video_id)
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
