"""aimock, a mock that others made, as OpenRouter.

Only its `/api/v1/videos` is used. Its OpenAI face, `/v1/videos`, has no list and no content, so nothing can
be fetched from it. It answers a create with 200, where OpenRouter and its SDK say 202, and leaves
`polling_url` out of a poll. It ignores the pictures of a create, forgets its jobs when it restarts, and shows
no state of a job but to a poll, so those cases are left out.
"""

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

from simulator.clips.render import render
from simulator.clips.spec import ClipSpec
from tests.conformance.npm import node, package
from tests.conformance.servers import FAULT, KEY, Server
from tests.services import ROOT

MODEL: Final = "mock/boat"
# Dollars, which it says that a video has cost.
COST: Final = 0.5
FAILS: Final = "fail"
BUSY: Final = "busy"
_SCRIPT: Final = ROOT / "tests" / "conformance" / "aimock" / "serve.mjs"


@dataclass(kw_only=True)
class AIMock(Server):
    """The package, with answers of ours and a video that can be played."""

    def start(self) -> None:
        """Start it and wait until it answers."""
        fixtures = self.folder / "fixtures.json"
        fixtures.write_text(json.dumps({"fixtures": _fixtures(self._clip())}))
        arguments = [str(_SCRIPT), str(package("aimock")), str(self.port), KEY, str(fixtures)]
        self._run(arguments, {}, "/health", self.folder, node())

    def failing(self, prompt: str) -> str:
        """Its answer depends on the prompt."""
        return f"{prompt}, {FAILS}"

    def entries(self) -> list[dict[str, Any]]:
        """The creates of its journal that it accepted."""
        answer = requests.get(
            f"http://127.0.0.1:{self.port}/__aimock/journal",
            params={"method": "POST", "status": "200"},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=10,
        )
        answer.raise_for_status()
        return [
            {"prompt": each["body"]["messages"][0]["content"], "fate": "unknown"}
            for each in answer.json()
            if each["path"] == "/api/v1/videos"
        ]

    def _clip(self) -> bytes:
        # Without one it serves 24 bytes that no player takes.
        path = self.folder / "clip"
        render(ClipSpec(str(path), "A boat", "tiny", 64, 64, 1, os.getppid()))
        return Path(f"{path}.mp4").read_bytes()


def _fixtures(clip: bytes) -> list[dict[str, Any]]:
    """What it answers: the first that matches."""
    video = {"id": "ignored", "status": "completed", "cost": COST, "b64": base64.b64encode(clip).decode()}
    busy = {"error": {"message": "Too many requests", "code": 429}, "status": 429, "retryAfter": 1}
    failed = {"id": "ignored", "status": "failed", "error": FAULT}
    rows: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"userMessage": BUSY, "sequenceIndex": 0}, busy),
        ({"userMessage": FAILS}, {"video": failed}),
        ({"model": MODEL}, {"video": video}),
    ]
    return [{"match": match | {"endpoint": "video"}, "response": response} for match, response in rows]
