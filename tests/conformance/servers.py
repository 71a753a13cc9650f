"""The servers under test, each a process of its own, with the books that say what was paid there."""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests

from tests.conformance.environments import installed
from tests.e2e.processes import Program, eventually
from tests.services import ROOT, free_port

START_SECONDS: Final = 90
# What the stand-in engine, or the simulator, says of a render that fails.
FAULT: Final = "the stand-in engine ran out of memory"
KEY: Final = "sk-conformance-4711"


@dataclass(kw_only=True)
class Server:
    """A server that speaks `/v1/videos`. `model` is the name that Take One sends, `path` its base URL's."""

    name: str
    dialect: str
    model: str
    folder: Path
    path: str = "/v1"
    port: int = field(default_factory=free_port)
    program: Program | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        raise NotImplementedError

    def entries(self) -> list[dict[str, Any]]:
        """Each create that it accepted: `prompt`, `size`, `fate`, what became of the render, and `picture`,
        what it got to begin with (`stand_ins.seen`), or ""."""
        raise NotImplementedError

    def failing(self, prompt: str) -> str:
        """The prompt of a render that will fail; sets up the failure."""
        return prompt

    def restart(self) -> None:
        """Kill it, as a power cut does, and start it again."""
        self.stop()
        time.sleep(1)
        self.start()

    def stop(self) -> None:
        """End its process."""
        if self.program is not None:
            self.program.kill()
            self.program = None

    def end(self) -> None:
        """End it and what it needs."""
        self.stop()

    def paid(self, prompt: str) -> int:
        """How many creates with this prompt it accepted."""
        return sum(entry["prompt"] == prompt for entry in self.entries())

    def fate(self, prompt: str) -> str:
        """What became of the render of this prompt."""
        return next((str(entry["fate"]) for entry in self.entries() if entry["prompt"] == prompt), "none")

    def paid_twice(self) -> list[str]:
        """The prompts that were paid more than once."""
        counted = Counter(entry["prompt"] for entry in self.entries())
        return [prompt for prompt, times in counted.items() if times > 1]

    def _run(
        self,
        arguments: list[str],
        settings: dict[str, str],
        health: str,
        folder: Path,
        interpreter: str = "",
    ) -> None:
        output = self.folder / f"{self.name}-{time.time_ns()}.log"
        interpreter = interpreter or str(installed(self.name))
        self.program = program = Program(arguments, settings, output, folder, interpreter)
        address = f"http://127.0.0.1:{self.port}{health}"
        eventually(
            lambda: program.running() and _answers(address), self.name, within=START_SECONDS, every=0.3
        )


@dataclass(kw_only=True)
class StandIn(Server):
    """A server's own routes over our engine, which keeps a ledger in a file."""

    module: str
    settings: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {"CONFORMANCE_LEDGER": str(self._ledger)} | self.settings
        arguments = ["-m", f"tests.conformance.stand_ins.{self.module}", str(self.port), str(self.folder)]
        self._run(arguments, settings, "/v1/videos", ROOT)

    def failing(self, prompt: str) -> str:
        """The engine reads it in the prompt."""
        return f"{prompt}, fail"

    def entries(self) -> list[dict[str, Any]]:
        """Its ledger, in which the last line about a video is its fate."""
        if not self._ledger.exists():
            return []
        lines = [json.loads(line) for line in self._ledger.read_text().splitlines()]
        fates = {line["id"]: line["event"] for line in lines}
        return [line | {"fate": fates[line["id"]]} for line in lines if line["event"] == "create"]

    @property
    def _ledger(self) -> Path:
        return self.folder / "ledger.jsonl"


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).status_code == 200
    except requests.RequestException:
        return False
