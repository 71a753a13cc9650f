"""OpenRouter's own catalogue: models, sizes, lengths and prices, read again from time to time."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.configured import configure
from tests.sora.upstream import Upstream as Server
from tests.sora.upstream import reply
from tests.videos.scripted import scripted
from upstreams.calls.catalogues import refresh_if_due
from upstreams.client import errors
from upstreams.client.client import SoraClient
from upstreams.client.dialects.openrouter import OPENROUTER
from upstreams.clock import shifted
from upstreams.configuration.toml_file import Mistakes, read
from upstreams.models import Provider
from upstreams.offer.catalogue import Catalogue
from upstreams.offer.openrouter import models_of
from upstreams.offer.stored import StoredModels
from upstreams.registry import Upstream

VEO: dict[str, Any] = {
    "id": "google/veo-3.1-lite",
    "supported_resolutions": ["720p", "1080p"],
    "supported_aspect_ratios": ["16:9", "9:16"],
    "supported_sizes": None,
    "supported_durations": [8, 4, 6],
    "generate_audio": True,
    "seed": True,
    "pricing_skus": {
        "duration_seconds_with_audio": "0.05",
        "duration_seconds_without_audio": "0.03",
        "duration_seconds_with_audio_1080p": "0.08",
        "duration_seconds_without_audio_1080p": "0.05",
    },
    "allowed_passthrough_parameters": [],
}
SEEDANCE = VEO | {
    "id": "bytedance/seedance-mini",
    "supported_resolutions": ["480p"],
    "supported_aspect_ratios": ["1:1"],
    "supported_sizes": ["640x640"],
    "supported_durations": [4, 4.04],
    "generate_audio": None,
    "seed": None,
    "pricing_skus": {"video_tokens": "0.0000035"},
}
GROK = VEO | {"id": "x-ai/grok", "pricing_skus": {"cents_per_video_output_second_720p": "5", "other": "x"}}
EDITOR = VEO | {"id": "topaz/upscale", "supported_durations": None}
PAYLOAD = {"data": [VEO, SEEDANCE, GROK, EDITOR, {"id": 5}, "nonsense", VEO | {"id": "x" * 101}]}


def test_what_makes_a_video_from_a_prompt_is_offered() -> None:
    found = models_of(PAYLOAD)
    assert set(found) == {"google/veo-3.1-lite", "bytedance/seedance-mini", "x-ai/grok"}
    veo = found["google/veo-3.1-lite"]
    assert veo.sizes == ("1280x720", "720x1280", "1920x1080", "1080x1920")
    assert (veo.seconds, veo.takes) == (("4", "6", "8"), {"seed", "audio"})
    assert found["bytedance/seedance-mini"].sizes == ("480x480", "640x640")


def test_prices_of_every_unit_are_dollars_a_second_and_the_dearest_that_may_apply() -> None:
    found = models_of(PAYLOAD)
    veo, seedance = found["google/veo-3.1-lite"], found["bytedance/seedance-mini"]
    assert (veo.cost("1280x720", "4"), veo.cost("1080x1920", "4")) == (Decimal("0.20"), Decimal("0.32"))
    # As it was charged for 640x640 and 4.04 s on 2026-10-02 (dialects of OpenRouter).
    assert seedance.cost("640x640", "4.04") == Decimal("0.1357")
    grok = found["x-ai/grok"]
    assert (grok.cost("1280x720", "4"), grok.cost("1920x1080", "4")) == (Decimal("0.20"), None)


def test_what_is_made_from_another_video_has_the_price_that_is_listed_for_it() -> None:
    skus = {
        **VEO["pricing_skus"],
        "cents_per_second_video_continuation": "7",
        "cents_per_second_video_continuation_1080p": "12",
    }
    listed = models_of({"data": [VEO | {"pricing_skus": skus}]})["google/veo-3.1-lite"]
    assert listed.operations == {"edit", "extend"}
    prices = [listed.cost_from_source(size, "4") for size in ("1280x720", "1080x1920")]
    assert prices == [Decimal("0.28"), Decimal("0.48")]
    assert listed.cost("1280x720", "4") == Decimal("0.20")
    # No price of a new video stands for it.
    for unlisted in models_of(PAYLOAD).values():
        assert unlisted.cost_from_source(unlisted.sizes[0], "4") is None  # type: ignore[index]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from(["720p", "16:9"]),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*VEO, "data"]), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_no_catalogue_raises(value: Any) -> None:
    for payload in (value, {"data": value}, {"data": [VEO | value]} if isinstance(value, dict) else None):
        for model in models_of(payload).values():
            for size in model.sizes:  # type: ignore[union-attr]
                model.cost(size, "4")


def test_the_client_asks_where_the_models_are() -> None:
    with Server(reply(200, PAYLOAD)) as server:
        client = SoraClient(server.url, "key", dialect=OPENROUTER, timeout=2, retries=0, retry_delay=0.01)
        assert client.models() == PAYLOAD
        assert server.requests[0].startswith(b"GET /v1/videos/models HTTP")
    with Server(reply(500)) as server, pytest.raises(errors.Unavailable):
        SoraClient(server.url, "key", dialect=OPENROUTER, timeout=2, retries=0, retry_delay=0.01).models()


Tell = Callable[[Any], None]


@pytest.fixture
def rented(monkeypatch: pytest.MonkeyPatch) -> Upstream:
    found = replace(
        scripted(OPENROUTER), name="rented", catalogue=Catalogue(StoredModels("rented"), "x-ai/grok")
    )
    configure(monkeypatch, found)
    return found


@pytest.fixture
def tell(rented: Upstream, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """What it says of its models from now on; an error is raised."""

    def tell(said: Any) -> None:
        def models() -> Any:
            if isinstance(said, Exception):
                raise said
            return json.loads(json.dumps(said))

        monkeypatch.setattr(rented.client, "models", models, raising=False)
        rented.catalogue.models._read_at = None  # type: ignore[attr-defined]

    return tell


@pytest.mark.django_db
def test_it_is_asked_once_an_hour_and_what_it_told_is_kept(rented: Upstream, tell: Tell) -> None:
    skus = VEO["pricing_skus"] | {"cents_per_second_video_continuation": "7"}
    payload = {"data": [*PAYLOAD["data"], VEO | {"id": "a/b", "pricing_skus": skus}]}
    tell(payload)
    assert (refresh_if_due(rented), refresh_if_due(rented)) == (True, False)
    assert dict(rented.catalogue.models) == models_of(payload)
    with shifted(timedelta(seconds=3_601)):
        assert refresh_if_due(rented)


@pytest.mark.django_db
@pytest.mark.parametrize("said", [errors.Unavailable("502"), {"data": []}, [], {"data": [EDITOR]}])
def test_what_cannot_be_read_leaves_the_models_as_they_were(rented: Upstream, tell: Tell, said: Any) -> None:
    tell(PAYLOAD)
    refresh_if_due(rented)
    tell(said)
    with shifted(timedelta(seconds=3_601)):
        assert not refresh_if_due(rented)
        tell(said)
        assert len(rented.catalogue.models) == 3
    with shifted(timedelta(seconds=3_632)):
        tell(PAYLOAD)
        assert refresh_if_due(rented), "it is asked again soon"


def test_a_model_that_is_gone_is_refused(api: Client, rented: Upstream, tell: Tell) -> None:
    def ask() -> int:
        body = {"prompt": "boat", "model": "google/veo-3.1-lite"}
        return api.post("/api/v1/videos", body, content_type="application/json").status_code

    assert ask() == 400, "nothing is known yet"
    tell(PAYLOAD)
    refresh_if_due(rented)
    assert ask() == 201
    tell({"data": [GROK]})
    with shifted(timedelta(seconds=3_601)):
        refresh_if_due(rented)
        tell({"data": [GROK]})
        assert ask() == 400
    assert set(Provider.objects.get(name="rented").catalogue) == {"x-ai/grok"}


def test_a_file_may_leave_its_models_to_the_upstream(tmp_path: Path) -> None:
    path = tmp_path / "upstreams.toml"
    text = '[[upstreams]]\nname = "rented"\ndialect = "openrouter"\nbase_url = "https://openrouter.example/api/v1"\n'
    path.write_text(text)
    with pytest.raises(Mistakes, match="default_model: name the model"):
        read(str(path))
    path.write_text(f'default_model = "x-ai/grok"\n{text}')
    found = read(str(path))
    assert isinstance(found.entries[0].catalogue.models, StoredModels)
    assert found.default_model == "x-ai/grok"


def test_what_is_iterated_is_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    models = StoredModels("rented")
    told = iter([models_of(PAYLOAD), {}])
    monkeypatch.setattr(models, "_now", lambda: next(told))
    assert Catalogue(models, "").cost_of_sent("nobody's", "1280x720", "4") is None
