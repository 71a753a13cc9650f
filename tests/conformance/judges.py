"""All that Take One is tried against: real servers, OpenRouter's SDK, and a mock that others made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.conformance import environments, npm
from tests.conformance.aimock.cases import CASES as AIMOCK_CASES
from tests.conformance.aimock.server import MODEL, AIMock
from tests.conformance.cases import CASES, Case
from tests.conformance.openai_node.cases import CASES as NODE_CASES
from tests.conformance.openrouter_sdk.cases import CASES as SDK_CASES
from tests.conformance.openrouter_sdk.cases import SimulatedServer
from tests.conformance.retries import retries
from tests.conformance.servers import KEY, Server
from tests.conformance.simulated import Simulator
from tests.conformance.trial import SERVERS


@dataclass(frozen=True)
class Judge:
    """One of them. `version` installs it, and raises NotInstalled or NotThere."""

    server: Callable[[Path], Server]
    cases: Mapping[str, Case]
    version: Callable[[], str]


def _sdk(folder: Path) -> Server:
    return SimulatedServer(
        name="openrouter-sdk",
        dialect="openrouter",
        model="simulator/seconds",
        folder=folder,
        simulator=Simulator(folder=folder, options=("--profile", "openrouter", "--api-key", KEY)),
    )


def _node(folder: Path) -> Server:
    return SimulatedServer(
        name="openai-node", dialect="openai", model="", folder=folder, simulator=Simulator(folder=folder)
    )


def _aimock(folder: Path) -> Server:
    return AIMock(name="aimock", dialect="openrouter", model=MODEL, folder=folder, path="/api/v1")


def _of(name: str, cases: Mapping[str, Case]) -> Judge:
    return Judge(SERVERS[name], cases, lambda: environments.version_of(name))


JUDGES: Final[Mapping[str, Judge]] = MappingProxyType(
    {
        "litellm": _of("litellm", {**CASES, "retries": retries}),
        "sglang": _of("sglang", CASES),
        "vllm-omni": _of("vllm-omni", CASES),
        "openrouter-sdk": Judge(_sdk, SDK_CASES, lambda: environments.version_of("openrouter-sdk")),
        "openai-node": Judge(_node, NODE_CASES, lambda: npm.version("openai-node")),
        "aimock": Judge(_aimock, AIMOCK_CASES, lambda: npm.version("aimock")),
    }
)
