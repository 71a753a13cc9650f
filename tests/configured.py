"""Which upstreams a test's service has."""

from dataclasses import replace

import pytest

from upstreams import registry
from upstreams.offer.pricing import Prices
from upstreams.registry import Upstream, Upstreams


def configure(monkeypatch: pytest.MonkeyPatch, *upstreams: Upstream, default_model: str = "") -> None:
    """Makes these the configured upstreams until the test ends; the first is the most preferred."""
    found = Upstreams(upstreams, default_model or upstreams[0].catalogue.default)
    monkeypatch.setattr(registry, "configured", lambda: found)


def priced(upstream: Upstream, prices: Prices) -> Upstream:
    """The upstream with this price list, which has nothing else."""
    models = {
        name: replace(each, prices=prices.get(name, {})) for name, each in upstream.catalogue.models.items()
    }
    return replace(upstream, catalogue=replace(upstream.catalogue, models=models))
