"""A caller of the REST face, and the upstream's own books."""

import re
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.timeouts import TIMEOUT

_ORDER = ["pending", "processing", "completed"]
_HEALTH_SECONDS = 10


class Caller:
    """Asks a running Take One over HTTP, with one API key."""

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        self.headers = {"x-api-key": key}

    def ask_for(self, prompt: str, **request: Any) -> str:
        """Asks for a video and returns the job's id."""
        return self.ask_at("", prompt, **request)

    def ask_at(self, path: str, prompt: str, **request: Any) -> str:
        """The same at this path below that of videos, such as `/{id}/remix`."""
        answer = requests.post(
            f"{self.address}/api/v1/videos{path}",
            json={"prompt": prompt, **request},
            headers=self.headers,
            timeout=TIMEOUT,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        """The job as it stands."""
        answer = self.get(f"{self.address}/api/v1/videos/{job_id}")
        data: dict[str, Any] = answer.json()["data"]
        return data

    def get(self, address: str) -> requests.Response:
        """Any address that takes the key; fails the test unless it is answered with 200."""
        answer = requests.get(address, headers=self.headers, timeout=TIMEOUT)
        assert answer.status_code == 200, f"{address}: {answer.status_code} {answer.text}"
        return answer

    def follow(self, job_id: str, *, within: float) -> tuple[dict[str, Any], list[str]]:
        """Follows a job until it is completed; returns it with the statuses seen, which only go forward."""
        seen: list[str] = []
        ends = time.monotonic() + within
        while time.monotonic() < ends:
            job = self.job(job_id)
            status = job["status"]
            assert status in _ORDER, job
            if not seen or seen[-1] != status:
                seen.append(status)
                assert seen == sorted(seen, key=_ORDER.index), f"The status went back: {seen}"
            if status == "completed":
                return job, seen
            time.sleep(0.05)
        pytest.fail(f"Not completed within {within:g} s, seen: {seen}. {job}")


def is_healthy(address: str) -> bool:
    """Whether /health answers with 200."""
    try:
        return requests.get(f"{address}/health", timeout=_HEALTH_SECONDS).status_code == 200
    except requests.RequestException:
        return False


def ledger(upstream: str) -> list[dict[str, Any]]:
    """The creates that the simulator at this base URL counts as paid."""
    answer = requests.get(f"{upstream.removesuffix('/v1')}/_simulator/ledger", timeout=TIMEOUT)
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["data"]
    return entries


def sourced(path: Path) -> dict[str, str]:
    """What a shell that sources the file has in its environment."""
    found = {}
    for line in path.read_text().splitlines():
        word, assignment = shlex.split(line)
        assert word == "export"
        name, _, value = assignment.partition("=")
        found[name] = value
    return found


def printed_create(output: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str], str]:
    """The address, headers and body of the first curl command in the output, as a shell would expand it."""
    command = output[output.index("curl ") :].split("\n\n")[0].replace("\\\n", " ")
    expanded = re.sub(r"\$([A-Z_]+)", lambda name: environment[name[1]], command)
    words = shlex.split(expanded)
    headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
    address = next(word for word in words if word.startswith("http"))
    return address, headers, words[words.index("-d") + 1]
