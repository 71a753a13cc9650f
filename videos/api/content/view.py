"""The address of a job's files."""

from typing import Any, Final, cast

from django.http import Http404, HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from structlog.contextvars import bind_contextvars

from accounts.keys.authentication import ApiKeyAuthentication
from accounts.keys.permissions import HasScope
from accounts.models import User
from accounts.ownership import get_owned
from accounts.sessions.cookies import CookieAuthentication
from api.addresses.parameters import parameters_of
from api.bodies.fields import refuse_fields
from videos.api import examples
from videos.api.content.files import CONTENT, MediaUnavailable, NotCompleted, file_of
from videos.api.content.links import IsKnownOrHasLink, Link, LinkAuthentication
from videos.api.queries import owned_jobs
from videos.api.serializers.job import JobView
from videos.api.serializers.listing import ContentQuery
from videos.api.show import show_job
from videos.models import Job
from videos.reads.rows import owned_row
from videos.retention.removal import remove_result
from videos.states import JobStatus

# What a page of another site needs to read, besides what it always may.
_EXPOSED: Final = "Accept-Ranges, Content-Disposition, Content-Range, ETag, Repr-Digest, Retry-After"


class ContentView(APIView):
    """The files of a completed job, for its owner and for whoever has a link."""

    authentication_classes = (LinkAuthentication, ApiKeyAuthentication, CookieAuthentication)
    permission_classes = (IsKnownOrHasLink, HasScope)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses a body, which the call would ignore."""
        super().initial(request, *args, **kwargs)
        refuse_fields(request.data)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Pages of other sites may read what a link answers: it is the same for whoever has the link."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        if "signature" in request.query_params and request.method in SAFE_METHODS:
            answer["Access-Control-Allow-Origin"] = "*"
            answer["Access-Control-Expose-Headers"] = _EXPOSED
        return answer

    @extend_schema(**CONTENT)
    def get(self, request: Request, pk: str) -> HttpResponseBase:
        """The file, or one range of it; 400 `job_not_completed` before the job is completed."""
        query = ContentQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        if isinstance(request.auth, Link):
            return file_of(_linked(request.auth), request.auth.variant, request)
        return file_of(_owned(request, pk), query.validated_data["variant"], request)

    @extend_schema(
        operation_id="deleteVideoContent",
        summary="Remove the files",
        responses={200: JobView},
        examples=examples.REMOVED,
    )
    def delete(self, request: Request, pk: str) -> Response:
        """Removes the video and its picture, for good. The job and what it cost stay. It can be repeated."""
        refuse_fields(parameters_of(request))
        job = _owned(request, pk)
        if job.status != JobStatus.COMPLETED:
            raise NotCompleted(job)
        try:
            remove_result(job)
        except OSError as error:
            raise MediaUnavailable from error
        row = owned_row(request.user, job.pk)
        if row is None:
            raise Http404
        return Response({"success": True, "data": show_job(row, request)})


def _owned(request: Request, pk: str) -> Job:
    owner = cast(User, request.user)
    return get_owned(owned_jobs(owner), owner, pk)


def _linked(link: Link) -> Job:
    """The job of a link. Raises Http404 if it is gone, or its account was closed."""
    job = Job.objects.filter(pk=link.job, owner__is_active=True).first()
    if job is None:
        raise Http404
    bind_contextvars(owner=job.owner_id)
    return job
