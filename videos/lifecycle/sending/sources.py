"""The last look at the video that another one is made from, before that is asked for."""

from upstreams.client.types import CreateRequest
from upstreams.clock import database_now
from upstreams.registry import Upstream
from videos.models import Submission


def problem_of_source(submission: Submission, request: CreateRequest, upstream: Upstream) -> str:
    """Why the request would make something else, or what is not offered any more; "" if nothing is wrong.

    Since it was accepted, the dialect or the operations of the model may have been changed, and the upstream
    may have let go of the video, or have given its id to another one.
    """
    if request.operation is None:
        return ""
    model = upstream.catalogue.models.get(submission.job.model)
    offered = model is not None and request.operation in model.operations
    if not offered or request.operation not in upstream.dialect.routes:
        return f"{upstream.name} is not asked for a remix, an edit or an extension of this kind any more."
    source = Submission.objects.filter(provider=submission.provider_id, upstream_id=request.source)
    if source.filter(id_reused=True).exists():
        return f"{upstream.name} has given the id of the video that it is made from to another one."
    if source.filter(expires_at__lte=database_now()).exists():
        return f"{upstream.name} does not have the video any more that it is made from."
    return ""
