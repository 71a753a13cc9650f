"""Simulators as real processes, and a receiver for their webhooks."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulator.clips.render import render
from simulator.clips.spec import ClipSpec
from tests.simulator.process import Simulator
from tests.simulator.receiver import Receiver

Start = Callable[..., Simulator]


@pytest.fixture
def start(tmp_path: Path, _tiny: Path) -> Iterator[Start]:
    """Starts simulators with further options; on one state file unless told otherwise."""
    started: list[Simulator] = []

    def begin(*options: str, state: Path | None = None) -> Simulator:
        state = state or tmp_path / "state.sqlite3"
        if "--tiny" in options:
            # The one clip need not be rendered again by each of them.
            shutil.copytree(_tiny, state.with_name(state.name + ".media"), dirs_exist_ok=True)
        simulator = Simulator(state, *options)
        started.append(simulator)
        return simulator

    yield begin
    for simulator in started:
        simulator.end()


@pytest.fixture(scope="session")
def _tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    render(ClipSpec(str(folder / "tiny"), "tiny", "tiny", 64, 64, 1, os.getppid()))
    return folder


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    state = tmp_path_factory.mktemp("shared") / "state.sqlite3"
    simulator = Simulator(state, "--tiny", "--render-seconds", "0")
    yield simulator
    assert simulator.end() == "", "it writes nothing but what went wrong"


@pytest.fixture
def sim(_shared: Simulator) -> Iterator[Simulator]:
    """A simulator that finishes at once; other tests have left jobs in it."""
    _shared.call("DELETE", "/_simulator/requests")
    yield _shared
    _shared.call("DELETE", "/_simulator/faults")
    _shared.call("POST", "/_simulator/webhook", json={"url": None})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Takes webhooks, on a thread."""
    listening = Receiver()
    yield listening
    listening.close()
