from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import ValidationError

from upstreams.client.dialects import OPENAI
from upstreams.client.dialects.vllm_omni import VLLM_OMNI
from upstreams.offer import pricing
from upstreams.offer.catalogue import SORA, AnyLength, AnySize, Catalogue, Model, catalogue_of
from upstreams.offer.fitting import fit
from upstreams.offer.request import Priority, VideoRequest

PRO = "sora-2-pro"


def fitted(**asked: Any) -> tuple[str, str, str]:
    request = fit(VideoRequest("a boat", **asked), SORA).request
    return request.model, request.size, request.seconds


def adjusted(**asked: Any) -> dict[str, Any]:
    return {made["field"]: made["used"] for made in fit(VideoRequest("a boat", **asked), SORA).adjustments}


def test_nothing_asked_is_the_cheapest_and_no_adjustment() -> None:
    assert fitted() == ("sora-2", "1280x720", "4")
    assert adjusted() == {}


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (1, "4"),
        (4, "4"),
        (5.9, "4"),
        (6, "8"),
        (7.5, "8"),
        (10, "12"),
        (12, "12"),
        (14, "16"),
        (18, "20"),
        (60, "20"),
    ],
)
def test_the_nearest_length_and_of_two_the_longer(duration: float, seconds: str) -> None:
    assert fitted(duration=duration)[2] == seconds
    expected = {} if float(seconds) == duration else {"duration": int(seconds)}
    assert adjusted(duration=duration) == expected


@pytest.mark.parametrize(
    ("model", "resolution", "ratio", "size"),
    [
        ("sora-2", "480p", "16:9", "1280x720"),
        ("sora-2", "720p", "9:16", "720x1280"),
        ("sora-2", "1080p", "16:9", "1280x720"),
        ("sora-2", "720p", "1:1", "1280x720"),
        ("sora-2", "720p", "4:3", "1280x720"),
        (PRO, "1080p", "16:9", "1920x1080"),
        (PRO, "1080p", "9:16", "1080x1920"),
        (PRO, "720p", "1:1", "1280x720"),
        (PRO, "480p", "9:16", "720x1280"),
    ],
)
def test_the_nearest_size(model: str, resolution: str, ratio: str, size: str) -> None:
    assert fitted(model=model, resolution=resolution, aspect_ratio=ratio)[1] == size


def test_what_differs_is_said() -> None:
    assert adjusted(resolution="1080p", aspect_ratio="1:1") == {"resolution": "720p", "aspectRatio": "16:9"}
    assert adjusted(model=PRO, resolution="1080p", aspect_ratio="9:16") == {}
    assert adjusted(fps=30, seed=0, negative_prompt="rain") == {
        "fps": None,
        "seed": None,
        "negativePrompt": None,
    }


@pytest.mark.parametrize("asked", ["urgent", "HIGH "])
def test_an_unknown_priority_is_normal(asked: str) -> None:
    found = fit(VideoRequest("a boat", priority=asked), SORA)
    assert found.priority == Priority.NORMAL
    assert found.adjustments[0]["field"] == "priority"


def test_a_priority_is_read_in_any_case() -> None:
    assert fit(VideoRequest("a boat", priority="High"), SORA).priority == Priority.HIGH


@pytest.mark.parametrize("strict", [False, True])
def test_an_unknown_model_is_refused_and_never_replaced(strict: bool) -> None:
    with pytest.raises(ValidationError) as refused:
        fit(VideoRequest("a boat", model="veo", strict=strict), SORA)
    detail: Any = refused.value.detail
    assert (list(detail), detail["model"][0].code) == (["model"], "not_offered")
    assert "sora-2-pro" in str(detail["model"][0])


def test_strict_refuses_every_difference_at_once() -> None:
    with pytest.raises(ValidationError) as refused:
        fit(VideoRequest("a boat", duration=10, priority="x", seed=1, strict=True), SORA)
    detail: Any = refused.value.detail
    assert set(detail) == {"duration", "priority", "seed"}
    assert "allowed: 4, 8, 12, 16, 20" in str(detail["duration"][0])


def test_strict_takes_what_is_offered() -> None:
    request = VideoRequest(
        "a boat", duration=8, resolution="720p", aspect_ratio="9:16", priority="low", strict=True
    )
    assert fit(request, SORA).adjustments == []


def test_a_style_goes_with_the_prompt_and_changes_the_match_key() -> None:
    plain, styled = (fit(VideoRequest("a boat", style=style), SORA) for style in ("", "calm"))
    assert styled.request.prompt.startswith("a boat\n\n")
    assert styled.adjustments == []
    assert OPENAI.match_key(plain.request) != OPENAI.match_key(styled.request)


def offering(**changed: Any) -> Catalogue:
    """A catalogue of one model that renders any size and length, but for what is changed."""
    return Catalogue({"m": replace(Model(AnySize(), AnyLength()), **changed)}, "m")


def test_a_fractional_offer_keeps_its_fraction() -> None:
    found = fit(VideoRequest("a boat", duration=3), offering(seconds=("2.5", "5")))
    assert found.adjustments[0]["used"] == 2.5


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({}, "1280x720"),
        ({"resolution": "1080p"}, "1920x1080"),
        ({"resolution": "480p"}, "856x480"),
        ({"aspect_ratio": "9:16"}, "720x1280"),
        ({"resolution": "480p", "aspect_ratio": "9:16"}, "480x856"),
        ({"aspect_ratio": "1:1"}, "720x720"),
        ({"resolution": "1080p", "aspect_ratio": "4:3"}, "1440x1080"),
    ],
)
def test_a_model_of_any_size_renders_what_is_asked_for(asked: dict[str, Any], size: str) -> None:
    found = fit(VideoRequest("a boat", strict=True, **asked), offering())
    assert (found.request.size, found.adjustments) == (size, [])


def test_a_free_size_stays_within_its_bounds_and_says_so() -> None:
    small = offering(sizes=AnySize(least=256, most=1024, step=16))
    found = fit(VideoRequest("a boat", resolution="1080p", aspect_ratio="1:1"), small)
    assert found.request.size == "1024x1024"
    assert [made["field"] for made in found.adjustments] == ["resolution"]


@pytest.mark.parametrize(
    ("asked", "used", "adjusted"),
    [(None, "5", []), (7, "7", []), (2.5, "3", [3]), (0.5, "2", [2]), (90, "30", [30])],
)
def test_a_model_of_any_length_renders_whole_seconds_within_its_bounds(
    asked: float | None, used: str, adjusted: list[int]
) -> None:
    found = fit(VideoRequest("a boat", duration=asked), offering(seconds=AnyLength(2, 30, usual=5)))
    assert (found.request.seconds, [made["used"] for made in found.adjustments]) == (used, adjusted)


def test_prices_are_per_model_and_size() -> None:
    assert SORA.models["sora-2"].cost("1280x720", "12") == Decimal("1.20")
    assert SORA.models[PRO].cost("1920x1080", "20") == Decimal("14.00")
    assert SORA.models["sora-2"].cost("1920x1080", "4") is None
    assert SORA.cost_of_sent("veo", "1280x720", "4") is None


def test_own_prices_replace_the_published_ones() -> None:
    prices = pricing.table('{"wan": {"1280x720": 0.015, "720x1280": "0", "1080p": "0.0000125"}}')
    wan = catalogue_of(VLLM_OMNI, "wan", prices).models["wan"]
    assert wan.cost("1280x720", "4") == Decimal("0.060")
    assert wan.cost("720x1280", "4") == 0
    assert wan.cost("1920x1080", "4") == Decimal("0.0001"), "by resolution, as exact as it is kept"
    assert wan.cost("854x480", "4") is None
    assert catalogue_of(OPENAI, "", prices).models["sora-2"].cost("1280x720", "4") is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"m": 1}',
        '{"m": {"1x1": "free"}}',
        '{"m": {"1x1": -1}}',
        '{"m": {"1x1": "NaN"}}',
        '{"m": {"1x1": 1001}}',
        '{"m": {"1x1": null}}',
        '{"m": {}}',
        "{}",
    ],
)
def test_absurd_prices_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        pricing.parse(text)
    with pytest.raises(ImproperlyConfigured):
        pricing.table(text)


def test_fields_of_the_upstreams_own_are_taken_as_far_as_its_model_takes_them() -> None:
    model = replace(SORA.models["sora-2"], takes=frozenset({"audio"}), extra=frozenset({"cfg_scale", "shot"}))
    offered = Catalogue({"sora-2": model}, "sora-2")
    asked = VideoRequest("a boat", audio=True, extra={"cfg_scale": 7, "steps": 30, "lora": "x"})
    found = fit(asked, offered)
    assert (found.request.audio, found.request.extra) == (True, {"cfg_scale": 7})
    (made,) = found.adjustments
    assert (made["field"], made["asked"], made["used"]) == ("extra", ["lora", "steps"], ["cfg_scale"])
    with pytest.raises(ValidationError, match=r"allowed: cfg_scale, shot"):
        fit(replace(asked, strict=True), offered)


def test_without_any_they_are_named_and_left_out() -> None:
    found = fit(VideoRequest("a boat", audio=False, extra={"steps": 30}), SORA)
    assert (found.request.audio, found.request.extra) == (None, None)
    assert [(made["field"], made["used"]) for made in found.adjustments] == [("audio", None), ("extra", None)]
