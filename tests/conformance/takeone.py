"""Take One as its users run it, with an upstream of our choice and short waits."""

import io
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import av
import requests

from tests import runtime
from tests.conformance.relay import Relay
from tests.conformance.servers import KEY, Server
from tests.e2e.caller import Caller, is_healthy, sourced
from tests.e2e.processes import Program, eventually, run
from tests.services import ROOT, environment_without_settings, free_port

PROVIDER: Final = "conformance"
_START_SECONDS: Final = 60
_ASK_SECONDS: Final = 20
_BRISK: Final = {
    "SORA_TIMEOUT": "15000",
    "SORA_RETRY_DELAY": "50",
    "SORA_RECONCILE_SECONDS": "1,2,4",
    "SORA_CLOCK_SKEW": "2",
    "SORA_SYNC_SECONDS_MIN": "0.5",
    "SORA_SYNC_SECONDS_MAX": "1",
    "SORA_BREAKER_FAILURES": "50",
    "DISPATCH_SECONDS": "0.5",
    "RATE_LIMIT_READS_PER_MINUTE": "0",
    "RATE_LIMIT_CREATES_PER_MINUTE": "0",
    "LOG_LEVEL": "INFO",
}


@dataclass
class TakeOne:
    """One deployment, in front of one server, with a relay between them.

    `upstreams` is the text of a file of upstreams, in which `{url}` is the server and MOCK_KEY its key.
    """

    server: Server
    folder: Path
    model: str = ""
    upstreams: str = ""
    relay: Relay = field(init=False)
    caller: Caller = field(init=False)
    program: Program = field(init=False)
    settings: dict[str, str] = field(init=False)

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.folder.mkdir()
        relayed = free_port()
        self.relay = Relay(relayed, self.server.port)
        self.settings = _BRISK | {"TAKEONE_VAR": str(self.folder)}
        self.settings |= self._upstream(f"http://127.0.0.1:{relayed}{self.server.path}")
        port = free_port()
        command = ["-m", "config.embedded.up", "--port", str(port)]
        self.program = Program(command, self.settings, self.folder.with_suffix(".log"))
        address = f"http://127.0.0.1:{port}"
        eventually(
            lambda: (
                self.program.running() and is_healthy(address) and "Take One is up" in self.program.output
            ),
            "Take One",
            within=_START_SECONDS,
        )
        self.caller = Caller(address, sourced(self.folder / "takeone.env")["TAKEONE_API_KEY"])

    def _upstream(self, url: str) -> dict[str, str]:
        if self.upstreams:
            file = self.folder / "upstreams.toml"
            file.write_text(self.upstreams.replace("{url}", url))
            return {"UPSTREAMS_FILE": str(file), "MOCK_KEY": KEY}
        return {
            "SORA_PROVIDER": PROVIDER,
            "SORA_API_KEY": KEY,
            "SORA_CONCURRENCY": "20",
            "SORA_BASE_URL": url,
            "SORA_DIALECT": self.server.dialect,
            "SORA_MODEL": self.model or self.server.model,
        }

    def stop(self) -> None:
        """End it and its relay."""
        if hasattr(self, "program"):
            self.program.end()
        if hasattr(self, "relay"):
            self.relay.close()

    def wait(
        self, job: str, until: Callable[[dict[str, Any]], object], what: str, *, within: float = 60
    ) -> dict[str, Any]:
        """The job once it is so; fails with what it was, if it is not within so many seconds."""
        seen: dict[str, Any] = {}

        def look() -> bool:
            seen.update(self.caller.job(job))
            return bool(until(seen))

        try:
            eventually(look, what, within=within, every=0.1)
        except BaseException as error:
            shown = {name: seen.get(name) for name in ("status", "stage", "error", "attempts")}
            raise AssertionError(f"{what}: {error}; the job is {shown}") from error
        return seen

    def ends(self, job: str, status: str, *, within: float = 60) -> dict[str, Any]:
        """The job once it has ended, which must be with this status."""
        ended = {"completed", "failed", "cancelled"}
        found = self.wait(job, lambda it: it["status"] in ended, f"the job is {status}", within=within)
        assert found["status"] == status, f"it is {found['status']}: {found.get('error')}"
        return found

    def cancel(self, job: str) -> str:
        """Cancel the job; what the answer says of it."""
        address = f"{self.caller.address}/api/v1/videos/{job}"
        answer = requests.delete(address, headers=self.caller.headers, timeout=_ASK_SECONDS)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["message"])

    def content(self, job: str) -> bytes:
        """The video's file."""
        return self.caller.get(f"{self.caller.address}/api/v1/videos/{job}/content").content

    def frames(self, job: str) -> int:
        """How many pictures the video's file has; fails if it has none."""
        with av.open(io.BytesIO(self.content(job)), "r") as container:
            found = len(list(container.decode(video=0)))
        assert found > 0, "the file has no picture"
        return found

    def command(self, *arguments: str) -> str:
        """What `manage.py` with these arguments prints."""
        return run(["manage.py", *arguments], self.settings)

    def audit(self) -> tuple[int, str]:
        """The exit status of `manage.py audit`, and what it prints."""
        done = subprocess.run(
            [runtime.interpreter(), "manage.py", "audit"],
            cwd=ROOT,
            env=runtime.environment(environment_without_settings()) | self.settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def undecided(self, prompt: str) -> tuple[str, list[str]]:
        """The submission of this prompt that waits for a person, or "", and the videos that may be its."""
        found, videos, ours = "", [], False
        for line in self.command("undecided").splitlines():
            if match := re.match(r"(\S+/\d+)\s", line):
                ours = line.rstrip().endswith(prompt)
                found = match[1] if ours else found
            elif ours and (owned := re.match(r"\s+nobody owns (\S+)", line)):
                videos.append(owned[1])
        return found, videos
