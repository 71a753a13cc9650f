"""The fields of upstreams.toml, and its mistakes as lines."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from rest_framework import serializers

from api.bodies.fields import StrictCharField, StrictChoiceField, StrictIntegerField, StrictSerializer
from upstreams.client.dialects import DIALECTS
from upstreams.client.exchange import checked_url
from upstreams.client.files.redirects import ContentHosts
from upstreams.client.types import OPERATIONS
from upstreams.client.values import canonical_seconds
from upstreams.offer import pricing
from upstreams.offer.catalogue import OPTIONAL_FIELDS
from upstreams.offer.request import RESOLUTIONS

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SIZE: Final = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_MOST_UPSTREAMS: Final = 50
_MOST_MODELS: Final = 500
_MOST_VALUES: Final = 100


class _Pattern(StrictCharField):
    def __init__(self, pattern: re.Pattern[str], message: str, **options: Any) -> None:
        self._pattern = pattern
        self._message = message
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        if not self._pattern.fullmatch(value):
            raise serializers.ValidationError(self._message)
        return value


class _BaseUrl(StrictCharField):
    def to_internal_value(self, data: Any) -> str:
        try:
            return checked_url(super().to_internal_value(data))
        except ValueError as error:
            raise serializers.ValidationError(f"{error}.") from None


class _Flag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("true or false is required.")
        return data


class _Host(StrictCharField):
    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        try:
            ContentHosts([value])
        except ValueError as error:
            raise serializers.ValidationError(f"{error}.") from None
        return value


class _Price(serializers.Field):  # type: ignore[type-arg]
    """Dollars, above zero."""

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | Decimal | str):
            raise serializers.ValidationError("A number of dollars is required.")
        try:
            price = Decimal(data)
        except ArithmeticError:
            raise serializers.ValidationError("A number of dollars is required.") from None
        if not price.is_finite() or not 0 < price <= pricing.MAX_PER_SECOND:
            raise serializers.ValidationError(
                f"It must be above 0, up to {pricing.MAX_PER_SECOND} dollars. Write free = true if nothing "
                "is charged; leave the price out if it is not known."
            )
        return price


class _Prices(serializers.Field):  # type: ignore[type-arg]
    """One price, or a table of prices by size or resolution."""

    def to_internal_value(self, data: Any) -> Decimal | dict[str, Decimal]:
        if not isinstance(data, dict):
            return _Price().to_internal_value(data)
        if not data:
            raise serializers.ValidationError("The table names no price.")
        found, problems = {}, {}
        for key, given in data.items():
            try:
                if not _SIZE.fullmatch(key) and key not in RESOLUTIONS:
                    raise serializers.ValidationError(
                        f"Give a size such as 1280x720, or one of {', '.join(RESOLUTIONS)}."
                    )
                found[key] = _Price().to_internal_value(given)
            except serializers.ValidationError as error:
                problems[key] = error.detail
        if problems:
            raise serializers.ValidationError(problems)
        return found


class _Bounds(StrictSerializer):
    """`least` and `most`."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        bounds: dict[str, Any] = {name: self.fields[name].initial for name in ("least", "most")} | attrs
        least, most = int(bounds["least"]), int(bounds["most"])
        if least > most:
            raise serializers.ValidationError("least exceeds most.")
        if not least <= bounds.get("usual", least) <= most:
            raise serializers.ValidationError("usual must be from least to most.")
        return attrs


class _AnySize(_Bounds):
    least = StrictIntegerField(required=False, min_value=16, max_value=16_384, initial=128)
    most = StrictIntegerField(required=False, min_value=16, max_value=16_384, initial=4096)
    step = StrictIntegerField(required=False, min_value=1, max_value=1024)


class _AnyLength(_Bounds):
    least = StrictIntegerField(required=False, min_value=1, max_value=3600, initial=1)
    most = StrictIntegerField(required=False, min_value=1, max_value=3600, initial=60)
    usual = StrictIntegerField(required=False, min_value=1, max_value=3600)


class _ListOrBounds(serializers.Field):  # type: ignore[type-arg]
    """A list of single values, or a table of bounds."""

    def __init__(self, child: serializers.Field[Any, Any, Any, Any], bounds: type[_Bounds]) -> None:
        super().__init__(required=False)
        self._list = serializers.ListField(child=child, min_length=1, max_length=_MOST_VALUES)
        self._bounds = bounds

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, list):
            values = self._list.run_validation(data)
            if len(set(values)) < len(values):
                raise serializers.ValidationError("A value is there twice.")
            return values
        bounds = self._bounds(data=data)
        bounds.is_valid(raise_exception=True)
        return bounds.validated_data


class _Seconds(serializers.Field):  # type: ignore[type-arg]
    """A length, as the wire spells it."""

    def to_internal_value(self, data: Any) -> str:
        usable = isinstance(data, int | Decimal) and not isinstance(data, bool) and 0 < data <= 3600
        seconds = canonical_seconds(str(data)) if usable else None
        if seconds is None:
            raise serializers.ValidationError("A number of seconds above 0 is required.")
        return seconds


class _Operations(serializers.ListField):
    def to_internal_value(self, data: Any) -> list[str]:
        values: list[str] = super().to_internal_value(data)
        if len(set(values)) < len(values):
            raise serializers.ValidationError("A value is there twice.")
        return values


class _ModelFields(StrictSerializer):
    name = StrictCharField(max_length=100)
    sends = StrictCharField(max_length=200, required=False)
    sizes = _ListOrBounds(_Pattern(_SIZE, "A size is WIDTHxHEIGHT in pixels, such as 1280x720."), _AnySize)
    seconds = _ListOrBounds(_Seconds(), _AnyLength)
    takes = serializers.ListField(
        child=StrictChoiceField(choices=OPTIONAL_FIELDS), max_length=len(OPTIONAL_FIELDS), default=list
    )
    extra = serializers.ListField(
        child=StrictCharField(max_length=100), max_length=_MOST_VALUES, default=list
    )
    price_per_second = _Prices(required=False)
    price_per_image = _Price(default=Decimal(0))
    free = _Flag(default=False)
    operations = _Operations(child=StrictChoiceField(choices=OPERATIONS), required=False)
    operation_price_per_second = _Prices(required=False)


class _UpstreamFields(StrictSerializer):
    name = _Pattern(_NAME, "Letters, digits, dots, dashes and underscores are allowed, at most 100.")
    dialect = StrictChoiceField(choices=list(DIALECTS))
    base_url = _BaseUrl()
    api_key_env = _Pattern(_VARIABLE, "The name of an environment variable is required.", required=False)
    webhook_secret_env = _Pattern(
        _VARIABLE, "The name of an environment variable is required.", required=False
    )
    order = StrictIntegerField(required=False, min_value=0, max_value=1_000_000)
    concurrency = StrictIntegerField(default=4, min_value=1, max_value=10_000)
    requests_per_minute = StrictIntegerField(default=0, min_value=0, max_value=100_000)
    bills_failed = _Flag(default=False)
    content_hosts = serializers.ListField(child=_Host(), max_length=_MOST_VALUES, default=list)
    models = serializers.ListField(child=_ModelFields(), required=False, max_length=_MOST_MODELS)


class FileFields(StrictSerializer):
    """The whole file."""

    default_model = StrictCharField(max_length=100, required=False)
    upstreams = serializers.ListField(child=_UpstreamFields(), min_length=1, max_length=_MOST_UPSTREAMS)


def mistakes_of(errors: Any, given: Any) -> list[str]:
    """Validation errors as lines, each with its place in the file."""
    return [f"{where}: {message}" if where else message for where, message in _flat(errors, given, "")]


def _flat(errors: Any, given: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(errors, dict):
        for key, inner in errors.items():
            below = given[key] if _has(given, key) else None
            place = "" if key == "non_field_errors" else _place(key, below)
            yield from _flat(inner, below if place else given, ": ".join(filter(None, (where, place))))
    elif isinstance(errors, list) and any(isinstance(each, dict) for each in errors):
        for number, inner in enumerate(errors):
            below = given[number] if _has(given, number) else None
            yield from _flat(inner, below, ": ".join(filter(None, (where, _place(number, below)))))
    else:
        for message in errors if isinstance(errors, list) else [errors]:
            yield where, str(message)


def _has(given: Any, key: Any) -> bool:
    if isinstance(given, dict):
        return key in given
    return isinstance(given, list) and isinstance(key, int) and 0 <= key < len(given)


def _place(key: Any, below: Any) -> str:
    if not isinstance(key, int):
        return str(key)
    name = below.get("name") if isinstance(below, dict) else None
    return f'"{name}"' if isinstance(name, str) and name else f"number {key + 1}"
