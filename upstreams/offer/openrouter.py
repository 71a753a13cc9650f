"""What OpenRouter offers: its catalogue `GET /videos/models`, as our models. (Its SDK 1.3.84, 2026-10-27.)

Prices there have many units. They are read as dollars per second, the dearest where several may apply, so
that no render costs more than what is reserved. What is charged in the end is what `usage.cost` says.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from upstreams.client.dialects.dialect import SHAPES
from upstreams.client.dialects.openrouter import OPENROUTER
from upstreams.client.values import canonical_seconds
from upstreams.offer.catalogue import Model
from upstreams.offer.pricing import MAX_PER_SECOND
from upstreams.offer.request import RESOLUTIONS

MODELS_MAX: Final = 500
_NAME_MAX_LENGTH: Final = 100
_VALUES_MAX: Final = 100
_SIDE_MAX: Final = 16_384
# Frames a second in which tokens are counted: height x width x seconds x 24 / 1024.
_TOKENS_PER_PIXEL_SECOND: Final = Decimal(24) / 1024
_PER_SECOND: Final = ("duration_seconds", "text_to_video_duration_seconds", "per-video-second")
_PER_SECOND_FROM_IMAGE: Final = ("duration_seconds", "image_to_video_duration_seconds", "per-video-second")
_CENTS_PER_SECOND: Final = ("cents_per_second_output", "cents_per_video_output_second")
_CENTS_PER_SECOND_FROM_VIDEO: Final = ("cents_per_second_video_continuation",)
_AUDIO: Final = ("", "_with_audio", "_without_audio")


def models_of(payload: object) -> dict[str, Model]:
    """The models that make a video from a prompt, by their slugs. What is unreadable is left out."""
    data = payload.get("data") if isinstance(payload, dict) else None
    found = {}
    for entry in data[:MODELS_MAX] if isinstance(data, list) else ():
        if isinstance(entry, dict) and (model := _model(entry)) is not None:
            found[str(entry["id"])] = model
    return found


def _model(entry: Mapping[str, Any]) -> Model | None:
    name = entry.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_MAX_LENGTH or not name.isprintable():
        return None
    sizes = _sizes(entry)
    seconds = [canonical_seconds(each) for each in _listed(entry, "supported_durations")]
    lengths = sorted({each for each in seconds if each is not None and float(each) > 0}, key=float)
    # Editors and upscalers have neither: they want a video to begin with.
    if not sizes or not lengths:
        return None
    takes = {"seed"} if entry.get("seed") is True else set()
    takes |= {"audio"} if isinstance(entry.get("generate_audio"), bool) else set()
    frames = _listed(entry, "supported_frame_images")
    if "first_frame" in frames:
        takes |= {"input_reference"} | ({"last_frame"} if "last_frame" in frames else set())
    skus = entry.get("pricing_skus")
    skus = skus if isinstance(skus, dict) else {}
    return Model(
        sizes=tuple(sizes),
        seconds=tuple(lengths),
        takes=frozenset(takes),
        prices=_prices(skus, sizes, _PER_SECOND),
        image_prices=_prices(skus, sizes, _PER_SECOND_FROM_IMAGE),
        per_image=_per_image(skus),
        # No entry says which models take a video to begin with. Of one that does not, a create is refused.
        operations=frozenset(OPENROUTER.routes),
        operation_prices=_prices(skus, sizes, (), _CENTS_PER_SECOND_FROM_VIDEO),
    )


def _listed(entry: Mapping[str, Any], field: str) -> list[Any]:
    values = entry.get(field)
    return values[:_VALUES_MAX] if isinstance(values, list) else []


def _sizes(entry: Mapping[str, Any]) -> list[str]:
    """Its own sizes, and those that its resolutions and shapes have by their names."""
    named = [size for size in _listed(entry, "supported_sizes") if _is_size(size)]
    resolutions, ratios = _listed(entry, "supported_resolutions"), _listed(entry, "supported_aspect_ratios")
    shaped = [
        size for size, (resolution, ratio) in SHAPES.items() if resolution in resolutions and ratio in ratios
    ]
    return list(dict.fromkeys([*shaped, *named]))


def _is_size(size: object) -> bool:
    if not isinstance(size, str):
        return False
    width, _, height = size.partition("x")
    sides = [int(side) for side in (width, height) if side.isdecimal() and len(side) <= 5]
    return len(sides) == 2 and all(0 < side <= _SIDE_MAX for side in sides)


def _per_image(skus: Mapping[str, Any]) -> Decimal:
    """Dollars for each picture, the dearest that may apply."""
    listed = [_number(skus, "cents_per_image_input", Decimal("0.01")), _number(skus, "reference_images")]
    return min(max((each for each in listed if each is not None), default=Decimal(0)), MAX_PER_SECOND)


def _prices(
    skus: Mapping[str, Any], sizes: Iterable[str], keys: Sequence[str], cents: Sequence[str] | None = None
) -> dict[str, Decimal]:
    """Dollars per second by size, as far as they are known, of the prices with these names; and `cents`, if
    given, in place of those that every video has."""
    found = {}
    for size in sizes:
        width, height = (int(side) for side in size.split("x"))
        lines = min(width, height)
        tier = next((name for name, each in RESOLUTIONS.items() if each == lines), f"{lines}p")
        price = _per_second(skus, tier, Decimal(width * height), keys, cents)
        if price is not None and 0 <= price <= MAX_PER_SECOND:
            found[size] = price
    return found


def _per_second(
    skus: Mapping[str, Any], tier: str, pixels: Decimal, keys: Sequence[str], cents: Sequence[str] | None
) -> Decimal | None:
    """The dearest that names this resolution; else the dearest that names none."""
    for part in (f"_{tier}", ""):
        per_second = [_number(skus, f"{key}{audio}{part}") for key in keys for audio in _AUDIO]
        per_second += [_number(skus, f"{key}{part}{audio}") for key in keys for audio in _AUDIO]
        in_cents = _CENTS_PER_SECOND if cents is None else cents
        per_second += [_number(skus, f"{key}{part}", Decimal("0.01")) for key in in_cents]
        if cents is None:
            by_token = pixels * _TOKENS_PER_PIXEL_SECOND
            per_second += [_number(skus, f"video_tokens{part}{audio}", by_token) for audio in _AUDIO]
        if known := [each for each in per_second if each is not None]:
            return max(known)
    return None


def _number(skus: Mapping[str, Any], key: str, unit: Decimal = Decimal(1)) -> Decimal | None:
    text = skus.get(key)
    if not isinstance(text, str) or len(text) > 40:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value * unit if value.is_finite() and value >= 0 else None
