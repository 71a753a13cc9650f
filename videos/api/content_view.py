"""The address of a job's files."""

from typing import Any, cast

from django.http import Http404, HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView
from structlog.contextvars import bind_contextvars

from accounts.keys.authentication import ApiKeyAuthentication
from accounts.keys.permissions import HasScope
from accounts.models import User
from accounts.ownership import get_owned
from accounts.sessions.cookies import CookieAuthentication
from api.fields import refuse_fields
from api.parameters import parameters_of
from videos.api.content import CONTENT, file_of
from videos.api.links import IsKnownOrHasLink, Link, LinkAuthentication
from videos.api.queries import owned_jobs
from videos.api.serializers.listing import ContentQuery
from videos.models import Job


class ContentView(APIView):
    """The files of a completed job, for its owner and for whoever has a link."""

    authentication_classes = (LinkAuthentication, ApiKeyAuthentication, CookieAuthentication)
    permission_classes = (IsKnownOrHasLink, HasScope)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses a body, which the call would ignore."""
        super().initial(request, *args, **kwargs)
        refuse_fields(request.data)

    @extend_schema(**CONTENT)
    def get(self, request: Request, pk: str) -> HttpResponseBase:
        """The file, or one range of it; 400 `job_not_completed` before the job is completed."""
        query = ContentQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        if isinstance(request.auth, Link):
            answer = file_of(_linked(request.auth), request.auth.variant, request)
            # The answer is the same for whoever has the link, so pages of other sites may read it.
            answer["Access-Control-Allow-Origin"] = "*"
            return answer
        owner = cast(User, request.user)
        return file_of(get_owned(owned_jobs(owner), owner, pk), query.validated_data["variant"], request)


def _linked(link: Link) -> Job:
    """The job of a link. Raises Http404 if it is gone, or its account was closed."""
    job = Job.objects.filter(pk=link.job, owner__is_active=True).first()
    if job is None:
        raise Http404
    bind_contextvars(owner=job.owner_id)
    return job
