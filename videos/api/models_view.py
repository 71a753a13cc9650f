"""The REST API of models: what may be asked for, and what it costs."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.budgets.reservations import dollars
from api.addresses.parameters import parameters_of
from api.bodies.fields import StrictSerializer
from upstreams import registry
from upstreams.client.types import OPERATIONS
from upstreams.offer import pricing
from upstreams.offer.catalogue import AnyLength, AnySize, Model
from upstreams.offer.request import ASPECT_RATIOS, PICTURES, RESOLUTIONS
from upstreams.offer.sizes import shapes_of
from videos.api.examples import answer

_WIRE: Final = {
    "negative_prompt": "negativePrompt",
    "fps": "fps",
    "seed": "seed",
    "audio": "audio",
    **PICTURES,
}


class Durations(serializers.Serializer):  # type: ignore[type-arg]
    """Which lengths a model renders, in seconds."""

    values = serializers.ListField(
        child=serializers.FloatField(), allow_null=True, help_text="Null: every whole number from min to max."
    )
    min = serializers.FloatField()
    max = serializers.FloatField()


class Offer(serializers.Serializer):  # type: ignore[type-arg]
    """What one upstream renders with a model."""

    upstream = serializers.CharField()
    resolutions = serializers.ListField(child=serializers.CharField())
    aspectRatios = serializers.ListField(child=serializers.CharField())
    sizes = serializers.ListField(
        child=serializers.CharField(), allow_null=True, help_text="In pixels. Null: any size."
    )
    durations = Durations()
    takes = serializers.ListField(
        child=serializers.ChoiceField(choices=sorted(_WIRE.values())),
        help_text="The optional fields that are sent. Others are named in `adjustments`, and pictures are "
        "refused.",
    )
    extra = serializers.ListField(
        child=serializers.CharField(), help_text="The fields that may be given in `extra`."
    )
    pricePerSecond = serializers.DictField(
        child=serializers.CharField(),
        help_text="Dollars by size or resolution, or for `any`. What is missing has no known price.",
    )
    pricePerSecondWithPicture = serializers.DictField(
        child=serializers.CharField(), help_text="Where it differs for a video that begins with a picture."
    )
    operations = serializers.ListField(
        child=serializers.ChoiceField(choices=OPERATIONS), help_text="What may be made from a video of it."
    )
    pricePerSecondOfOperation = serializers.DictField(
        child=serializers.CharField(),
        help_text="Dollars for such a video. An extension counts the seconds that it adds.",
    )
    pricePerPicture = serializers.CharField(help_text="Dollars more for each picture.")


class ModelView(serializers.Serializer):  # type: ignore[type-arg]
    """A model, and which upstreams render it."""

    id = serializers.CharField(help_text="The value of `model` in a request.")
    default = serializers.BooleanField(help_text="Whether it is used if a request names no model.")
    offers = Offer(many=True, help_text="One for each upstream; the preferred ones first.")


class Models(serializers.Serializer):  # type: ignore[type-arg]
    """All models."""

    models = ModelView(many=True)
    currency = serializers.CharField()


_EXAMPLE: Final = {
    "id": "sora-2",
    "default": True,
    "offers": [
        {
            "upstream": "simulator",
            "resolutions": ["720p"],
            "aspectRatios": ["9:16", "16:9"],
            "sizes": ["720x1280", "1280x720"],
            "durations": {"values": [4.0, 8.0, 12.0, 16.0, 20.0], "min": 4.0, "max": 20.0},
            "takes": ["inputReference"],
            "extra": [],
            "pricePerSecond": {"720x1280": "0.10", "1280x720": "0.10"},
            "pricePerSecondWithPicture": {},
            "operations": ["edit", "extend", "remix"],
            "pricePerSecondOfOperation": {},
            "pricePerPicture": "0.00",
        }
    ],
}


class ModelsView(APIView):
    """The models of all configured upstreams."""

    @extend_schema(
        operation_id="getModels",
        summary="What may be asked for",
        tags=["models"],
        responses={200: Models},
        examples=[answer({"models": [_EXAMPLE], "currency": "USD"})],
    )
    def get(self, request: Request) -> Response:
        """Models with their sizes, lengths and prices. Asks nothing of an upstream."""
        StrictSerializer(data=parameters_of(request)).is_valid(raise_exception=True)
        upstreams = registry.configured()
        models = [
            {
                "id": name,
                "default": name == upstreams.default_model,
                # One may have been listed no more since.
                "offers": [
                    _offer(each.name, model)
                    for each in offering
                    if (model := each.catalogue.models.get(name)) is not None
                ],
            }
            for name, offering in upstreams.models().items()
        ]
        return Response({"success": True, "data": {"models": models, "currency": pricing.CURRENCY}})


def _offer(upstream: str, model: Model) -> dict[str, Any]:
    if isinstance(model.sizes, AnySize):
        resolutions, ratios, sizes = list(RESOLUTIONS), list(ASPECT_RATIOS), None
    else:
        resolutions, ratios = shapes_of(model.sizes)
        sizes = list(model.sizes)
    if isinstance(model.seconds, AnyLength):
        durations: dict[str, Any] = {"values": None, "min": model.seconds.least, "max": model.seconds.most}
    else:
        values = [float(each) for each in model.seconds]
        durations = {"values": values, "min": min(values), "max": max(values)}
    return {
        "upstream": upstream,
        "resolutions": resolutions,
        "aspectRatios": ratios,
        "sizes": sizes,
        "durations": durations,
        "takes": sorted(_WIRE[field] for field in model.takes),
        "extra": sorted(model.extra),
        "pricePerSecond": _shown(model.prices),
        "pricePerSecondWithPicture": _shown(
            {size: price for size, price in model.image_prices.items() if price != model.prices.get(size)}
        ),
        "operations": sorted(model.operations),
        "pricePerSecondOfOperation": _shown(model.operation_prices),
        "pricePerPicture": dollars(model.per_image),
    }


def _shown(prices: Mapping[str, Decimal]) -> dict[str, str | None]:
    return {size or "any": dollars(price) for size, price in prices.items()}
