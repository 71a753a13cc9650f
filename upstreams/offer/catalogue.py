"""What an upstream offers: its models, and which sizes, lengths and fields each one takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from upstreams.client.dialects import DIALECTS, OPENAI, Dialect
from upstreams.offer import pricing

# The fields of a create that not every server takes.
OPTIONAL_FIELDS: Final = ("negative_prompt", "fps", "seed", "audio", "input_reference", "last_frame")


@dataclass(frozen=True, slots=True)
class AnySize:
    """Every size whose sides have from `least` to `most` pixels, in steps of `step`."""

    least: int = 128
    most: int = 4096
    step: int = 8


@dataclass(frozen=True, slots=True)
class AnyLength:
    """Every whole number of seconds from `least` to `most`; `usual` if none is asked for."""

    least: int = 1
    most: int = 60
    usual: int = 4


@dataclass(frozen=True, slots=True)
class Model:
    """What one model renders: sizes as `WxH` in pixels, lengths in seconds as the wire spells them.

    `extra`: fields of the upstream's own that callers may give in `extra`. `prices`: dollars per second, by
    size or by resolution; `image_prices`: where they differ for a video that begins with a picture; and
    `per_image` dollars more for each picture. `exact_pictures`: these must have the size of the video.
    `operations`: how a video of it may be made into another one (`OPERATIONS`), at `operation_prices`; these
    are of their own, because no provider says that they are those of a new video.
    `sends`: what the upstream calls it, if not by the name that callers use.
    """

    sizes: tuple[str, ...] | AnySize
    seconds: tuple[str, ...] | AnyLength
    takes: frozenset[str] = frozenset()
    extra: frozenset[str] = frozenset()
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    image_prices: Mapping[str, Decimal] = field(default_factory=dict)
    per_image: Decimal = Decimal(0)
    exact_pictures: bool = False
    sends: str = ""
    operations: frozenset[str] = frozenset()
    operation_prices: Mapping[str, Decimal] = field(default_factory=dict)

    def renders(self, size: str) -> bool:
        """Whether it offers this size, `WxH` in pixels."""
        if not isinstance(self.sizes, AnySize):
            return size in self.sizes
        sides = [int(side) for side in size.split("x")]
        bounds = self.sizes
        return all(bounds.least <= side <= bounds.most and side % bounds.step == 0 for side in sides)

    def cost_from_source(self, size: str, seconds: str) -> Decimal | None:
        """Dollars for a remix, an edit, or so many seconds more; None if its price is not listed."""
        return pricing.cost(self.operation_prices, size, seconds)

    def cost(self, size: str, seconds: str, pictures: int = 0) -> Decimal | None:
        """Dollars for a render with so many pictures; None if its price is not listed."""
        prices = {**self.prices, **self.image_prices} if pictures else self.prices
        cost = pricing.cost(prices, size, seconds)
        return None if cost is None else cost + pricing.kept(pictures * self.per_image)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The models of an upstream by name, and the one that is used if none is asked for."""

    models: Mapping[str, Model]
    default: str

    def cost_of_sent(self, model: str, size: str, seconds: str) -> Decimal | None:
        """Dollars for a render of what the upstream calls by this name; None if its price is not listed."""
        for name, offered in self.models.items():
            if (offered.sends or name) == model:
                return offered.cost(size, seconds)
        return None


# Sizes by model and the longer lengths are from OpenAI's guide (edition of March 2026). Its OpenAPI file
# never listed 1080p, 16 s and 20 s.
_SECONDS = ("4", "8", "12", "16", "20")
_HD = ("720x1280", "1280x720")
_PICTURE = frozenset({"input_reference"})
_SORA_2 = Model(
    sizes=_HD, seconds=_SECONDS, takes=_PICTURE, exact_pictures=True, operations=frozenset(OPENAI.routes)
)
_SORA_2_PRO = replace(_SORA_2, sizes=(*_HD, "1024x1792", "1792x1024", "1080x1920", "1920x1080"))
_SORA_MODELS: Final = {
    "sora-2": _SORA_2,
    "sora-2-2025-10-06": _SORA_2,
    "sora-2-2025-12-08": _SORA_2,
    "sora-2-pro": _SORA_2_PRO,
    "sora-2-pro-2025-10-06": _SORA_2_PRO,
}
SORA: Final = Catalogue(
    MappingProxyType(
        {name: replace(each, prices=pricing.PUBLISHED[name]) for name, each in _SORA_MODELS.items()}
    ),
    default="sora-2",
)
# Microsoft's docs: 720p, and 4, 8 or 12 seconds.
_AZURE_SORA_2: Final = replace(
    _SORA_2, seconds=("4", "8", "12"), operations=frozenset(DIALECTS["azure"].routes)
)


class NoSuchModel(ValueError):
    """The dialect has no such model, or its model must be named. Says what to do."""


def catalogue_of(dialect: Dialect, model: str, prices: pricing.Prices = pricing.PUBLISHED) -> Catalogue:
    """The catalogue of an upstream of which only the dialect and, or "", a model are known, at these prices.

    Raises NoSuchModel.
    """
    catalogue = _unpriced(dialect, model)
    priced = {name: replace(each, prices=prices.get(name, {})) for name, each in catalogue.models.items()}
    return replace(catalogue, models=MappingProxyType(priced))


def _unpriced(dialect: Dialect, model: str) -> Catalogue:
    if dialect.name == "openai":
        if model and model not in SORA.models:
            raise NoSuchModel(f"{model!r} is none of its models: {', '.join(SORA.models)}")
        return Catalogue(SORA.models, model or SORA.default)
    if not model:
        raise NoSuchModel("it must name the model that the server serves")
    takes = frozenset(OPTIONAL_FIELDS) & {*dialect.fields, *dialect.pictures}
    usual = Model(AnySize(), AnyLength(), takes, operations=frozenset(dialect.routes))
    offered = _AZURE_SORA_2 if dialect.name == "azure" else usual
    return Catalogue(MappingProxyType({model: offered}), model)
