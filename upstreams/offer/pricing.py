"""What a render costs: US dollars per second, by model and size."""

import json
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

from django.core.exceptions import ImproperlyConfigured

from upstreams.offer.request import resolution_of

CURRENCY: Final = "USD"

# The key of a price that every size has which is not listed by itself.
ANY_SIZE: Final = ""

# Dollars per second, by model, then by size or resolution.
Prices = Mapping[str, Mapping[str, Decimal]]

_HD = ("720x1280", "1280x720")
_TALL = ("1024x1792", "1792x1024")
_FULL_HD = ("1080x1920", "1920x1080")
_PRO = {
    **dict.fromkeys(_HD, Decimal("0.30")),
    **dict.fromkeys(_TALL, Decimal("0.50")),
    **dict.fromkeys(_FULL_HD, Decimal("0.70")),
}
# OpenAI's last published prices, archived 2026-08-02.
PUBLISHED: Final[Prices] = {
    "sora-2": dict.fromkeys(_HD, Decimal("0.10")),
    "sora-2-2025-10-06": dict.fromkeys(_HD, Decimal("0.10")),
    "sora-2-2025-12-08": dict.fromkeys(_HD, Decimal("0.10")),
    "sora-2-pro": _PRO,
    "sora-2-pro-2025-10-06": _PRO,
}
MAX_PER_SECOND: Final = Decimal(1000)
# The rows' own; what is counted against a budget must be what is kept.
_KEPT: Final = Decimal("0.0001")


def parse(text: str) -> Prices:
    """Reads SORA_PRICES: `{"model": {"WxH": "0.10"}}`; ValueError says what is wrong with it."""
    try:
        table = json.loads(text, parse_float=str, parse_int=str)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(table, dict) or not all(isinstance(sizes, dict) for sizes in table.values()):
        raise ValueError('it must look like {"model": {"1280x720": "0.10"}}')
    if not table or not all(table.values()):
        raise ValueError("it names no price, or a model without one")
    return {
        model: {size: _price(f"{model} {size}", given) for size, given in sizes.items()}
        for model, sizes in table.items()
    }


def _price(where: str, given: object) -> Decimal:
    try:
        price = Decimal(str(given))
    except InvalidOperation:
        raise ValueError(f"the price of {where} is no number: {given!r}") from None
    if not price.is_finite() or not 0 <= price <= MAX_PER_SECOND:
        raise ValueError(f"the price of {where} must be from 0 to {MAX_PER_SECOND} dollars, not {given!r}")
    return price


def table(text: str) -> Prices:
    """The prices of SORA_PRICES, or the published ones if it is empty. Raises ImproperlyConfigured."""
    if not text:
        return PUBLISHED
    try:
        return parse(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"SORA_PRICES: {error}.") from None


def per_second(prices: Mapping[str, Decimal], size: str) -> Decimal | None:
    """Dollars per second of a size, or else of its resolution, or of any size; None if none is listed."""
    return next((prices[key] for key in (size, resolution_of(size), ANY_SIZE) if key in prices), None)


def cost(prices: Mapping[str, Decimal], size: str, seconds: str) -> Decimal | None:
    """Dollars for a render, rounded as they are stored; None if its price is not listed."""
    price = per_second(prices, size)
    return None if price is None else kept(price * Decimal(seconds))


def kept(dollars: Decimal) -> Decimal:
    """Rounded as they are stored."""
    return dollars.quantize(_KEPT, ROUND_HALF_UP)
