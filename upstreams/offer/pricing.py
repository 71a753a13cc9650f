"""What a render costs: US dollars per second, by model and size."""

import json
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import cache
from typing import Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

CURRENCY: Final = "USD"

_HD = ("720x1280", "1280x720")
_TALL = ("1024x1792", "1792x1024")
_FULL_HD = ("1080x1920", "1920x1080")
_PRO = {
    **dict.fromkeys(_HD, Decimal("0.30")),
    **dict.fromkeys(_TALL, Decimal("0.50")),
    **dict.fromkeys(_FULL_HD, Decimal("0.70")),
}
# OpenAI's last published prices, archived 2026-08-02.
PUBLISHED: Final[Mapping[str, Mapping[str, Decimal]]] = {
    "sora-2": dict.fromkeys(_HD, Decimal("0.10")),
    "sora-2-2025-10-06": dict.fromkeys(_HD, Decimal("0.10")),
    "sora-2-2025-12-08": dict.fromkeys(_HD, Decimal("0.10")),
    "sora-2-pro": _PRO,
    "sora-2-pro-2025-10-06": _PRO,
}
_MAX_PER_SECOND: Final = Decimal(1000)
# The rows' own; what is counted against a budget must be what is kept.
_KEPT: Final = Decimal("0.0001")


def parse(text: str) -> Mapping[str, Mapping[str, Decimal]]:
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
    if not price.is_finite() or not 0 <= price <= _MAX_PER_SECOND:
        raise ValueError(f"the price of {where} must be from 0 to {_MAX_PER_SECOND} dollars, not {given!r}")
    return price


@cache
def _table(text: str) -> Mapping[str, Mapping[str, Decimal]]:
    if not text:
        return PUBLISHED
    try:
        return parse(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"SORA_PRICES: {error}.") from None


def of_model(model: str) -> Mapping[str, Decimal]:
    """Dollars per second by size, as far as they are listed."""
    return _table(settings.SORA_PRICES).get(model, {})


def per_second(model: str, size: str) -> Decimal | None:
    """Dollars per second; None if the pair is not listed."""
    return of_model(model).get(size)


def cost(model: str, size: str, seconds: str) -> Decimal | None:
    """Dollars for a render, rounded as they are stored; None if its price is not listed."""
    price = per_second(model, size)
    return None if price is None else (price * Decimal(seconds)).quantize(_KEPT, ROUND_HALF_UP)
