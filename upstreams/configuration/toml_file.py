"""Reads upstreams.toml: several upstreams, each with its catalogue. docs/upstreams.md explains the file."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from upstreams.client.dialects import DIALECTS, Dialect
from upstreams.configuration.entry import Entry
from upstreams.configuration.fields import FileFields, mistakes_of
from upstreams.offer import pricing
from upstreams.offer.catalogue import SORA, AnyLength, AnySize, Catalogue, Model
from upstreams.offer.request import resolution_of
from upstreams.offer.stored import StoredModels

_MAX_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UpstreamsFile:
    """The upstreams of a file, the preferred ones first, and the model that is used if none is asked for."""

    entries: tuple[Entry, ...]
    default_model: str


class Mistakes(ImproperlyConfigured):
    """The file cannot be used. `lines` has one line for each mistake."""

    def __init__(self, path: str, lines: list[str]) -> None:
        self.lines = [f"{path}: {line}" for line in lines]
        super().__init__("\n".join(self.lines))


def read(path: str, environment: Mapping[str, str] = os.environ) -> UpstreamsFile:
    """Reads and checks the file. Keys and secrets come from `environment`. Raises Mistakes."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise Mistakes(path, [f"it is larger than {_MAX_BYTES} bytes."])
        # As they are written: no price goes through a binary fraction.
        given = tomllib.loads(content.decode(), parse_float=Decimal)
    except OSError as error:
        raise Mistakes(path, [f"it cannot be read: {error.strerror or error}."]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Mistakes(path, [f"it is not TOML: {error}."]) from None
    fields = FileFields(data=given)
    if not fields.is_valid():
        raise Mistakes(path, mistakes_of(fields.errors, given))
    found = fields.validated_data
    lines: list[str] = []
    entries = [
        _entry(number, upstream, environment, lines) for number, upstream in enumerate(found["upstreams"], 1)
    ]
    _compare(entries, found.get("default_model", ""), lines)
    if lines:
        raise Mistakes(path, lines)
    # Sorting is stable: of the same order, the one that stands first.
    ordered = tuple(sorted(entries, key=lambda entry: entry.order))
    default = found.get("default_model") or ordered[0].catalogue.default
    if not default:
        # Its models are not known before it is asked.
        raise Mistakes(path, ["default_model: name the model that is used if a request names none."])
    return UpstreamsFile(ordered, default)


def _entry(number: int, given: dict[str, Any], environment: Mapping[str, str], lines: list[str]) -> Entry:
    where = f'upstream "{given["name"]}"'
    dialect = DIALECTS[given["dialect"]]
    models = {model["name"]: _model(model, dialect, where, lines) for model in given.get("models", [])}
    if len(models) < len(given.get("models", [])):
        names = [model["name"] for model in given["models"]]
        twice = sorted({name for name in names if names.count(name) > 1})
        lines.append(f"{where}: models: {', '.join(twice)} is there twice; each name is there once.")
    if not models and dialect.name == "openai":
        # What OpenAI offered, at its last published prices.
        models = dict(SORA.models)
    elif not models and not dialect.models:
        lines.append(f"{where}: models: name the models that it renders, one [[upstreams.models]] for each.")
    return Entry(
        name=given["name"],
        dialect=dialect,
        base_url=given["base_url"],
        api_key=_secret(given, "api_key_env", environment, where, lines),
        catalogue=Catalogue(
            MappingProxyType(models) if models else StoredModels(given["name"]), next(iter(models), "")
        ),
        # As they stand in the file, unless it says otherwise.
        order=given.get("order", number),
        concurrency=given["concurrency"],
        requests_per_minute=given["requests_per_minute"],
        bills_failed=given["bills_failed"],
        content_hosts=tuple(given["content_hosts"]),
        webhook_secrets=tuple(_secret(given, "webhook_secret_env", environment, where, lines).split()),
    )


def _model(given: dict[str, Any], dialect: Dialect, where: str, lines: list[str]) -> Model:
    where = f'{where}: model "{given["name"]}"'
    for field in sorted(set(given["takes"]) - {*dialect.fields, *dialect.pictures}):
        lines.append(f"{where}: takes: the dialect {dialect.name} has no field for {field}.")
    own = {"prompt", "n", "callback_url", *dialect.fields.values(), *(dialect.as_resolution or ())}
    own |= {route.source for route in dialect.routes.values()}
    for field in sorted(own & set(given["extra"])):
        lines.append(f"{where}: extra: {field} is a field that Take One sends itself.")
    sizes, seconds, price = given.get("sizes", {}), given.get("seconds", {}), given.get("price_per_second")
    if price is not None and given["free"]:
        lines.append(f"{where}: it has a price and is free; leave one of them out.")
    offered = sizes if isinstance(sizes, list) else AnySize(**sizes)
    operations, operation_price = given.get("operations"), given.get("operation_price_per_second")
    for operation in sorted(set(operations or ()) - dialect.routes.keys()):
        lines.append(f"{where}: operations: the dialect {dialect.name} has no {operation}.")
    if operation_price is not None and given["free"]:
        lines.append(f"{where}: operation_price_per_second: the model is free; leave one of them out.")
    elif operation_price is not None and not (dialect.routes if operations is None else operations):
        lines.append(f"{where}: operation_price_per_second: the model has no operations; leave it out.")
    for field, prices in (("price_per_second", price), ("operation_price_per_second", operation_price)):
        if isinstance(offered, list) and isinstance(prices, dict):
            for size in sorted(prices.keys() - set(offered) - _resolutions(offered)):
                lines.append(f"{where}: {field}: {size} is none of its sizes or resolutions.")
    return Model(
        sizes=offered if isinstance(offered, AnySize) else tuple(offered),
        seconds=tuple(seconds) if isinstance(seconds, list) else AnyLength(**seconds),
        takes=frozenset(given["takes"]),
        extra=frozenset(given["extra"]),
        prices=_prices(Decimal(0) if given["free"] else price),
        per_image=given["price_per_image"],
        exact_pictures=dialect.exact_pictures,
        sends=given.get("sends", ""),
        operations=frozenset(dialect.routes if operations is None else operations),
        operation_prices=_prices(Decimal(0) if given["free"] else operation_price),
    )


def _resolutions(sizes: list[str]) -> set[str]:
    return {resolution_of(size) for size in sizes}


def _prices(price: Any) -> Mapping[str, Decimal]:
    if price is None:
        return {}
    return price if isinstance(price, dict) else {pricing.ANY_SIZE: price}


def _secret(
    given: dict[str, Any], field: str, environment: Mapping[str, str], where: str, lines: list[str]
) -> str:
    """What the variable holds that this field names; "" if it names none."""
    name = given.get(field)
    if name is None:
        return ""
    value = environment.get(name, "").strip()
    if not value:
        lines.append(f"{where}: {field}: {name} is not set in the environment.")
    elif not (value.isascii() and value.isprintable()):
        lines.append(f"{where}: {field}: the value of {name} has characters that no key has.")
    return value


def _compare(entries: list[Entry], default_model: str, lines: list[str]) -> None:
    """What can be wrong between upstreams."""
    names = [entry.name for entry in entries]
    for name in sorted({name for name in names if names.count(name) > 1}):
        lines.append(f'upstream "{name}": it is there twice; a name is the identity of one upstream.')
    secrets = [secret for entry in entries for secret in set(entry.webhook_secrets)]
    if len(secrets) > len(set(secrets)):
        lines.append("webhook_secret_env: two upstreams have the same secret, and must have their own.")
    told = any(isinstance(entry.catalogue.models, StoredModels) for entry in entries)
    offered = {
        model
        for entry in entries
        if not isinstance(entry.catalogue.models, StoredModels)
        for model in entry.catalogue.models
    }
    if default_model and default_model not in offered and not told:
        lines.append(f'default_model: "{default_model}" is no model of an upstream.')
