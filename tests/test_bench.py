"""What the benchmarks say has become slower, and the page that they write."""

import json
from pathlib import Path

import pytest

from bench import run
from bench.rig.load import WrongAnswer, load, request
from tests.services import free_port

KEPT = {
    "read_ratio": 0.8,
    "claim_growth": 1.2,
    "read_per_second": 900.0,
    "read_ratio_min": 0.7,
    "gone_ratio": 1.0,
}


@pytest.mark.parametrize(
    ("found", "slower"),
    [
        (KEPT, []),
        ({"read_ratio": 0.65, "claim_growth": 1.49, "read_per_second": 10.0}, []),
        ({"read_ratio": 0.63, "read_ratio_min": 0.1}, ["read_ratio: 0.8 before, 0.63 now"]),
        ({"claim_growth": 1.51, "read_ratio": 2.0}, ["claim_growth: 1.2 before, 1.51 now"]),
        ({"new_ratio": 0.1}, []),
    ],
)
def test_a_ratio_that_is_worse_by_a_fifth_is_named(found: dict[str, float], slower: list[str]) -> None:
    assert run.worse(KEPT, found) == slower


def test_the_page_has_the_figures_that_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stood between its marks; and what is committed is what was written together."""
    found = json.loads(run.RESULTS.read_text())
    page = tmp_path / "page.md"
    page.write_text(run.PAGE.read_text())
    monkeypatch.setattr(run, "PAGE", page)
    run.write_page({name: figure / 2 for name, figure in found.items()})
    assert page.read_text() != (run._ROOT / "docs" / "benchmarks.md").read_text()
    run.write_page(found)
    assert page.read_text() == (run._ROOT / "docs" / "benchmarks.md").read_text()


def test_a_wrong_answer_ends_a_benchmark(live_server: object) -> None:
    port = int(str(live_server.url).rsplit(":", 1)[1])  # type: ignore[attr-defined]
    asked = request("GET", "/health")
    assert load(port, lambda _: asked, connections=2, seconds=0.2, status=200).answered >= 2
    with pytest.raises(WrongAnswer, match="404"):
        nothing = request("GET", "/nothing")
        load(port, lambda _: nothing, connections=2, seconds=0.2, status=200)
    with pytest.raises(OSError):
        load(free_port(), lambda _: asked, connections=1, seconds=0.2, status=200)
