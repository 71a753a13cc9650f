"""Creating a job that is made from the video of another one: a remix, an edit or an extension."""

from dataclasses import replace
from decimal import Decimal

from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.models import ApiKey, User
from api.moments import written
from upstreams import registry
from upstreams.clock import database_now
from upstreams.offer.request import Source, VideoRequest
from videos.lifecycle.create import create
from videos.models import Job, Submission
from videos.states import SubmissionState


class SourceGone(APIException):
    """409: the upstream does not have the video any more, or is not used any more."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "source_gone"


class OperationNotOffered(APIException):
    """409: the upstream that rendered the video makes no such video from it."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "operation_not_offered"

    def __init__(self, operation: str, provider: str, offered: list[str]) -> None:
        hint = f"it offers: {', '.join(offered)}" if offered else "it makes no video from another one"
        super().__init__(f"{provider}, which rendered this video, has no {operation} of it ({hint}).")
        self.extra = {"operation": operation, "provider": provider, "offered": offered}


def create_from(job: Job, operation: str, asked: VideoRequest, *, owner: User, api_key: ApiKey | None) -> Job:
    """Accepts a job that is made from the video of a completed one, at the upstream that rendered that.

    `operation` is a name of OPERATIONS. Raises SourceGone, OperationNotOffered, and what `create` raises.
    """
    model = job.model or str(job.fitted["model"])
    source = _rendered_source(job)
    upstream = registry.configured().get(source.upstream)
    if upstream is None:
        raise SourceGone(f"This video is at {source.upstream}, which this service does not use any more.")
    offered = upstream.catalogue.models.get(model)
    operations = sorted(offered.operations) if offered is not None else []
    if operation not in operations:
        raise OperationNotOffered(operation, upstream.name, operations)
    asked = replace(asked, operation=operation, source=source, model=model)
    return create(asked, owner=owner, api_key=api_key)


def _rendered_source(job: Job) -> Source:
    """The video of a completed job, as its upstream has it. Raises SourceGone."""
    rendered = job.submissions.filter(
        state=SubmissionState.STORED, upstream_id__isnull=False, id_reused=False
    ).select_related("provider")
    last: Submission | None = rendered.order_by("-number").first()
    if last is None or last.upstream_id is None:
        raise SourceGone("The upstream has given the id of this video to another one.")
    if last.expires_at is not None and last.expires_at <= database_now():
        raise SourceGone(f"{last.provider.name} had this video until {written(last.expires_at)}.")
    sent = last.request
    seconds = Decimal(sent["seconds"]) + Decimal(sent.get("source_seconds") or 0)
    return Source(
        job=job.pk,
        upstream=last.provider.name,
        video_id=last.upstream_id,
        model=sent["model"],
        seconds=f"{seconds.normalize():f}",
        size=sent["size"],
    )
