"""Catalogues that an upstream tells itself: kept with its row, and read from there by every process."""

import threading
import time
from collections.abc import ItemsView, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from django.db import DatabaseError

from upstreams.models import Provider
from upstreams.offer.catalogue import Model

_FRESH_SECONDS: Final = 10.0


def as_stored(models: Mapping[str, Model]) -> dict[str, Any]:
    """The models as JSON, for the row."""
    return {
        name: {
            "sizes": list(model.sizes),  # type: ignore[arg-type]
            "seconds": list(model.seconds),  # type: ignore[arg-type]
            "takes": sorted(model.takes),
            "prices": _written(model.prices),
            "image_prices": _written(model.image_prices),
            "per_image": str(model.per_image),
            "operations": sorted(model.operations),
            "operation_prices": _written(model.operation_prices),
        }
        for name, model in models.items()
    }


def from_stored(kept: Mapping[str, Any]) -> dict[str, Model]:
    """The models of a row."""
    return {
        name: Model(
            sizes=tuple(model["sizes"]),
            seconds=tuple(model["seconds"]),
            takes=frozenset(model["takes"]),
            prices=_read(model["prices"]),
            # A row of an earlier version has none.
            image_prices=_read(model.get("image_prices", {})),
            per_image=Decimal(model.get("per_image", 0)),
            operations=frozenset(model.get("operations", [])),
            operation_prices=_read(model.get("operation_prices", {})),
        )
        for name, model in kept.items()
    }


def _written(prices: Mapping[str, Decimal]) -> dict[str, str]:
    return {size: str(price) for size, price in prices.items()}


def _read(prices: Mapping[str, str]) -> dict[str, Decimal]:
    return {size: Decimal(price) for size, price in prices.items()}


class StoredModels(Mapping[str, Model]):
    """The models of a provider's row, read again every few seconds. Empty before they were first told.

    While the database does not answer, they stay as they were read last.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._models: Mapping[str, Model] = {}

    def __getitem__(self, name: str) -> Model:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def items(self) -> ItemsView[str, Model]:
        """All of one moment: a model may be gone by the next."""
        return self._now().items()

    def _now(self) -> Mapping[str, Model]:
        with self._lock:
            if self._read_at is None or time.monotonic() - self._read_at > _FRESH_SECONDS:
                self._read()
            return self._models

    def _read(self) -> None:
        rows = Provider.objects.filter(name=self._provider)
        try:
            kept = rows.values_list("catalogue", flat=True).first()
        except DatabaseError:
            if self._read_at is None:
                raise
            return
        self._models = from_stored(kept or {})
        self._read_at = time.monotonic()
