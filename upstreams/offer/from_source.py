"""Fits a request for a video that is made from another one: a remix, an edit or an extension.

It is rendered where the other one is, with its model and in its size.
"""

from rest_framework.exceptions import ErrorDetail, ValidationError

from upstreams.client.dialects import Dialect
from upstreams.client.types import CreateRequest
from upstreams.offer.adjustments import Adjustments
from upstreams.offer.catalogue import Catalogue
from upstreams.offer.fitting import fit_priority
from upstreams.offer.lengths import fit_seconds
from upstreams.offer.request import FittedRequest, Source, VideoRequest


def fit_from_source(
    asked: VideoRequest, source: Source, name: str, dialect: Dialect, catalogue: Catalogue
) -> FittedRequest:
    """The nearest request that the upstream of this name renders from that source.

    Raises ValidationError if the source is elsewhere, or this upstream does not make such a video with its
    model; and with the allowed values if `asked.strict` and something had to be adjusted.
    """
    if source.upstream != name:
        raise _refused(f"The video that it is made from is at the upstream {source.upstream!r}.")
    model = catalogue.models.get(asked.model)
    if model is None or asked.operation not in model.operations:
        raise _refused(f"This upstream has no {asked.operation} of a video of this model.")
    adjustments = Adjustments()
    seconds, begins_with = source.seconds, None
    if asked.operation == "extend":
        seconds = fit_seconds(asked, model.seconds, adjustments)
        begins_with = source.seconds if dialect.routes["extend"].lengthens else None
    priority = fit_priority(asked, adjustments)
    if asked.strict:
        adjustments.refuse()
    return FittedRequest(
        CreateRequest(
            prompt=asked.prompt,
            model=source.model,
            seconds=seconds,
            size=source.size,
            operation=asked.operation,
            source=source.video_id,
            source_seconds=begins_with,
        ),
        priority,
        adjustments.made,
        model=asked.model,
        price=model.cost_from_source(source.size, seconds),
    )


def _refused(message: str) -> ValidationError:
    return ValidationError({"operation": [ErrorDetail(message, code="not_offered")]})
