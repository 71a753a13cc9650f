"""What a request asks for, and what that would cost."""

from functools import cache
from typing import Any

from rest_framework.request import Request

from accounts.budgets.reservations import dollars, remaining
from accounts.keys.authentication import key_of
from upstreams import registry
from upstreams.offer import pricing
from upstreams.offer.request import VideoRequest
from videos.api.serializers.create import CreateVideo, video_request_of
from videos.references.asked import GivenPicture, with_measured


@cache
def _checker() -> CreateVideo:
    """One for all requests, because each copies its fields. What it checks, it does not keep."""
    return CreateVideo()


def asked_in(request: Request) -> tuple[VideoRequest, dict[str, GivenPicture]]:
    """The request of the body, and the pictures that it is still without. Raises ValidationError."""
    return video_request_of(_checker().run_validation(request.data))


def estimate_of(request: Request) -> dict[str, Any]:
    """What would be sent for the body and what it would cost, for the wire. Raises as a create does."""
    asked = with_measured(*asked_in(request), request.user)  # type: ignore[arg-type]
    fitted = registry.configured().fit(asked)
    sent = fitted.request
    return {
        "estimatedCost": dollars(fitted.price),
        "currency": pricing.CURRENCY,
        "submitted": {"model": sent.model, "seconds": sent.seconds, "size": sent.size},
        "adjustments": fitted.adjustments,
        "budgets": remaining(request.user, key_of(request)),  # type: ignore[arg-type]
    }
