"""What OpenRouter's SDK says of the simulator's profile `openrouter`, and of what Take One sends and reads.

The SDK has an environment of its own. With it come 12 small packages, most of which the tests have as well.
So it would fit into their lock; but its version is part of each result, and no test needs it.
"""

import base64
import io
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from PIL import Image

from tests.conformance.environments import installed
from tests.conformance.from_source import refused_by_model
from tests.conformance.pictures import uploaded
from tests.conformance.servers import Server
from tests.conformance.simulated import Simulator, body_of
from tests.conformance.stand_ins.seen import seen
from tests.conformance.trial import Trial
from tests.services import ROOT
from upstreams.client.types import Phase, Video

_SECONDS: Final = 90
_RUNNING: Final = frozenset({"pending", "in_progress"})


@dataclass(kw_only=True)
class SimulatedServer(Server):
    """The simulator, in one of its profiles."""

    simulator: Simulator

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.simulator.start()
        self.port = int(self.simulator.url.rpartition(":")[2].removesuffix("/v1"))

    def end(self) -> None:
        """End its process."""
        self.simulator.end()

    def entries(self) -> list[dict[str, Any]]:
        """Its ledger."""
        return self.simulator.entries()


def our_creates(trial: Trial) -> str:
    """Take One's own creates are the SDK's request, and have the pictures in the size of the video."""
    takeone = trial.takeone
    kept = uploaded(takeone)
    pictures = {"inputReference": kept, "lastFrame": kept, "imageFit": "pad", "seed": 7, "audio": True}
    asked = {
        "A boat at dawn": {"resolution": "720p", "aspectRatio": "16:9"},
        "A boat at noon": {"resolution": "1080p", "aspectRatio": "9:16", "duration": 8},
        "A boat at dusk": {"resolution": "720p", "aspectRatio": "16:9", **pictures},
    }
    for prompt, request in asked.items():
        takeone.caller.follow(takeone.caller.ask_for(prompt, **request), within=60)
        trial.paid_once(prompt)
    bodies = [body_of(each) for each in trial.server.entries() if each["prompt"] in asked]
    frames = json.loads(bodies[-1])["frame_images"]
    assert [each["frame_type"] for each in frames] == ["first_frame", "last_frame"], frames
    for frame in frames:
        data = base64.b64decode(frame["image_url"]["url"].partition(",")[2])
        with Image.open(io.BytesIO(data)) as image:
            assert seen(image).startswith("1280x720 "), seen(image)
    said = _asked("creates", trial, b"\n".join(bodies))
    return f"{said}; the first and the last frame in the size of the video"


def states(trial: Trial) -> str:
    """Each state that the SDK knows is one for Take One as well."""
    found = _asked("states", trial).split()
    wrong = [
        state
        for state in found
        if (Video.parse({"id": "v", "status": state}).phase is Phase.RUNNING) != (state in _RUNNING)
    ]
    assert not wrong, f"not understood: {wrong}"
    return ", ".join(found)


def _check(name: str) -> Callable[[Trial], str]:
    return lambda trial: _asked(name, trial)


def _asked(check: str, trial: Trial, given: bytes = b"") -> str:
    """What a check of the SDK says. Fails with what is wrong for it."""
    server = trial.server
    assert isinstance(server, SimulatedServer)
    url = server.simulator.url
    done = subprocess.run(
        [str(installed(server.name)), "-m", "tests.conformance.openrouter_sdk.asks", check, url],
        cwd=ROOT,
        input=given,
        capture_output=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr.decode().strip()
    return done.stdout.decode().strip()


CASES: Final[Mapping[str, Callable[[Trial], str]]] = MappingProxyType(
    {
        "create and poll": _check("completed"),
        "other ends": _check("otherwise"),
        "models": _check("models"),
        "frame images": _check("frames"),
        "refusals": _check("refusals"),
        "schema": _check("schema"),
        "repeats": _check("repeats"),
        "our creates": our_creates,
        "made from another": refused_by_model,
        "states": states,
    }
)
