"""A simulator under test: started, called, killed."""

import itertools
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests

from tests import runtime
from tests.timeouts import TIMEOUT

T = TypeVar("T")

_ROOT = Path(__file__).parents[2]
_numbers = itertools.count()


def eventually(look: Callable[[], T], what: str) -> T:
    """Looks until what it finds is true, and returns that."""
    ends = time.monotonic() + TIMEOUT
    while not (found := look()):
        assert time.monotonic() < ends, f"not within {TIMEOUT:g} s: {what}; last seen: {found!r}"
        time.sleep(0.02)
    return found


def command(state: Path, *options: str) -> list[str]:
    return [runtime.interpreter(), "-m", "simulator", "--port", "0", "--state", str(state), *options]


class Simulator:
    """One process; `call` takes paths from the server's root and adds a key."""

    def __init__(self, state: Path, *options: str) -> None:
        self.state = state
        self.process = subprocess.Popen(
            command(state, *options), cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        assert self.line.startswith("simulator: http://"), self.end()
        self.url = self.line.split()[1]
        self.session = requests.Session()
        self.session.headers["Authorization"] = "Bearer sk-test"

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        arguments.setdefault("timeout", TIMEOUT)
        return self.session.request(method, self.url.removesuffix("/v1") + path, **arguments)

    def create(self, prompt: str = "", **fields: Any) -> requests.Response:
        """A JSON create; the prompt differs from all others unless it is given."""
        prompt = prompt or f"A paper boat, number {next(_numbers)}"
        return self.call("POST", "/v1/videos", json={"prompt": prompt, **fields})

    def made(self, prompt: str = "", **fields: Any) -> str:
        """The id of a new job."""
        answer = self.create(prompt, **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def retrieve(self, video_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/v1/videos/{video_id}")
        assert answer.status_code == 200, answer.text
        video: dict[str, Any] = answer.json()
        return video

    def content(self, video_id: str, **params: str) -> requests.Response:
        return self.call("GET", f"/v1/videos/{video_id}/content", params=params)

    def finished(self, video_id: str) -> dict[str, Any]:
        """The video, once it is completed."""
        eventually(lambda: self.retrieve(video_id)["status"] == "completed", f"{video_id} is completed")
        return self.retrieve(video_id)

    def ids(self, **params: str) -> list[str]:
        page = self.call("GET", "/v1/videos", params=params).json()
        return [video["id"] for video in page["data"]]

    def arm(self, fault: str, **params: Any) -> dict[str, Any]:
        answer = self.call("POST", "/_simulator/faults", json={"fault": fault, **params})
        assert answer.status_code == 200, answer.text
        armed: dict[str, Any] = answer.json()
        return armed

    def ledger(self, **params: Any) -> list[dict[str, Any]]:
        answer = self.call("GET", "/_simulator/ledger", params=params)
        entries: list[dict[str, Any]] = answer.json()["data"]
        return entries

    def paid(self, prompt: str) -> list[dict[str, Any]]:
        """The ledger's entries with this prompt."""
        return [entry for entry in self.ledger() if entry["prompt"] == prompt]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> str:
        """Stops it if it runs; returns what it wrote to standard error."""
        if self.process.poll() is None:
            self.process.terminate()
        _, complaint = self.process.communicate(timeout=TIMEOUT)
        if hasattr(self, "session"):
            self.session.close()
        return str(complaint)


def error(answer: requests.Response) -> tuple[int, str, Any, Any]:
    """Status, message, param and code of a refusal, whose envelope has exactly four keys."""
    assert set(answer.json()) == {"error"}
    found = answer.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return answer.status_code, found["message"], found["param"], found["code"]
