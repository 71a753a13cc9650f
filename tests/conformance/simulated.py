"""The simulator as a server of a trial: what it was asked for, and what was paid there."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from PIL import Image

from simulator.http.bodies import Upload, parse
from tests.conformance.servers import START_SECONDS
from tests.conformance.stand_ins.seen import seen
from tests.e2e.caller import ledger
from tests.e2e.processes import Program, eventually
from tests.services import ROOT, free_port

_RENDER_SECONDS = 3


@dataclass(kw_only=True)
class Simulator:
    """The simulator; its ledger says what was paid. `options` are more of its own."""

    folder: Path
    options: tuple[str, ...] = ()
    program: Program | None = None
    url: str = ""

    def start(self) -> None:
        """Start it and wait until it is ready."""
        ready = self.folder / "simulator.url"
        command = ["-m", "simulator", "--port", str(free_port()), "--tiny", "--ready-file", str(ready)]
        command += ["--render-seconds", str(_RENDER_SECONDS), "--state", str(self.folder / "state.sqlite3")]
        command += self.options
        self.program = program = Program(command, {}, self.folder / "simulator.log", ROOT)
        eventually(lambda: program.running() and ready.exists(), "the simulator", within=START_SECONDS)
        self.url = ready.read_text().strip()

    def arm(self, **fault: object) -> None:
        """Arm one of its faults."""
        self._ask("POST", json=fault)

    def disarm(self) -> None:
        """Clear its faults."""
        self._ask("DELETE")

    def _ask(self, method: str, **content: Any) -> None:
        address = f"{self.url.removesuffix('/v1')}/_simulator/faults"
        requests.request(method, address, timeout=10, **content).raise_for_status()

    def entries(self) -> list[dict[str, Any]]:
        """Its ledger, as `Server.entries`."""
        return [entry | {"fate": entry["status"], "picture": _picture(entry)} for entry in ledger(self.url)]

    def end(self) -> None:
        """End its process."""
        if self.program is not None:
            self.program.end()


def body_of(entry: Mapping[str, Any]) -> bytes:
    """The body of a create in the ledger, as it came."""
    text = str(entry["body"])
    return text.encode() if entry["body_encoding"] == "text" else base64.b64decode(text)


def _picture(entry: Mapping[str, Any]) -> str:
    """What a create was sent with as its picture, or ""."""
    found = parse(body_of(entry), entry["headers"].get("content-type", "")).fields.get("input_reference")
    if not isinstance(found, Upload):
        return ""
    with Image.open(io.BytesIO(found.data)) as image:
        return seen(image)
