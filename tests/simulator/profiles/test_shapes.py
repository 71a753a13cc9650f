"""Each profile is held to the answers of the real server, which `tests.conformance.shapes` recorded."""

from collections.abc import Callable

import pytest

from simulator.profiles import PROFILES
from tests.conformance.results import load as results
from tests.conformance.servers import FAULT
from tests.conformance.trial import SERVERS
from tests.simulator.process import Simulator
from tests.simulator.profiles.walk import KEY, SHAPES, Target, load, version, walk

RECORDED = sorted(SERVERS)


@pytest.mark.parametrize("server", RECORDED)
def test_a_profile_answers_in_the_shapes_of_the_real_server(
    server: str, start: Callable[..., Simulator]
) -> None:
    options = ("--api-key", KEY) if server == "litellm" else ()
    simulator = start("--profile", server, "--tiny", "--render-seconds", "1", *options)

    def failing(prompt: str) -> str:
        simulator.arm("failed", error={"code": "server_error", "message": FAULT})
        return prompt

    def running(prompt: str) -> str:
        simulator.arm("stuck")
        return prompt

    target = Target(server, simulator.url, PROFILES[server].model, failing, running)
    seen, real = walk(target), load(server)
    wrong = {
        name: {"real": real.get(name), "profile": seen.get(name)}
        for name in real | seen
        if real.get(name) != seen.get(name)
    }
    assert not wrong, wrong


def test_the_shapes_are_of_the_versions_that_were_tried() -> None:
    tried = {each.server: each.version for each in results() if each.server in SERVERS}
    assert {path.stem: version(path.stem) for path in SHAPES.glob("*.json")} == tried
