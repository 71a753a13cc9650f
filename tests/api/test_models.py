"""GET /api/v1/models: what may be asked for."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from tests.configured import configure
from upstreams.offer.catalogue import AnyLength, AnySize, Catalogue, Model
from upstreams.registry import Upstream

pytestmark = pytest.mark.django_db
URL = "/api/v1/models"


def models(api: Client) -> dict[str, Any]:
    answer = api.get(URL)
    assert answer.status_code == 200, answer.content
    data = answer.json()["data"]
    assert data["currency"] == "USD"
    return {each["id"]: each for each in data["models"]}


def test_each_model_is_shown_with_what_it_takes_and_costs(api: Client) -> None:
    found = models(api)
    assert [name for name, each in found.items() if each["default"]] == ["sora-2"]
    (pro,) = found["sora-2-pro"]["offers"]
    assert pro["upstream"] == "scripted"
    assert pro["resolutions"] == ["720p", "1024p", "1080p"]
    assert "1920x1080" in pro["sizes"]
    assert {"16:9", "9:16"} <= set(pro["aspectRatios"])
    assert pro["durations"] == {"values": [4, 8, 12, 16, 20], "min": 4, "max": 20}
    assert (pro["pricePerSecond"]["1920x1080"], pro["takes"]) == ("0.70", ["inputReference"])


def test_what_is_shown_is_taken_without_an_adjustment(api: Client) -> None:
    for name, model in models(api).items():
        for seconds in model["offers"][0]["durations"]["values"]:
            body = {"prompt": "x", "model": name, "duration": seconds, "resolution": "720p", "fit": "strict"}
            answer = api.post("/api/v1/videos/estimate", body, content_type="application/json")
            assert answer.status_code == 200, answer.content


def test_a_model_of_any_size_and_length_says_so(
    api: Client, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes, prices = frozenset({"seed", "negative_prompt"}), {"1280x720": Decimal("0.01")}
    wan = Model(AnySize(), AnyLength(1, 60), takes, prices=prices)
    other = replace(upstream, catalogue=Catalogue({"wan": wan}, "wan"))
    configure(monkeypatch, other)
    (shown,) = models(api)["wan"]["offers"]
    assert (shown["sizes"], shown["durations"]) == (None, {"values": None, "min": 1, "max": 60})
    assert {"480p", "4k"} <= set(shown["resolutions"])
    assert {"3:4", "21:9"} <= set(shown["aspectRatios"])
    assert (shown["takes"], shown["pricePerSecond"]) == (["negativePrompt", "seed"], {"1280x720": "0.01"})


def test_nobody_sees_them_without_a_key() -> None:
    assert Client().get(URL).status_code == 401


def test_what_a_picture_costs_is_shown(
    api: Client, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = {"1280x720": Decimal("0.10"), "720x1280": Decimal("0.10")}
    model = Model(
        tuple(prices),
        ("4",),
        takes=frozenset({"input_reference"}),
        prices=prices,
        image_prices={"1280x720": Decimal("0.10"), "720x1280": Decimal("0.20")},
        per_image=Decimal("0.03"),
    )
    configure(monkeypatch, replace(upstream, catalogue=Catalogue({"wan": model}, "wan")))
    (shown,) = models(api)["wan"]["offers"]
    assert shown["pricePerSecond"] == {"1280x720": "0.10", "720x1280": "0.10"}
    assert shown["pricePerSecondWithPicture"] == {"720x1280": "0.20"}
    assert shown["pricePerPicture"] == "0.03"
