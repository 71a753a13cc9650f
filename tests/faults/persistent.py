"""A caller who does not give up: what a program that pays for its videos should be like."""

import time
import uuid
from typing import Any

import requests

from tests.faults.stack import Stack

_PAUSE_SECONDS = 0.2


class NoAnswer(Exception):
    """The service did not answer in time."""


def insist(
    stack: Stack, method: str, path: str, *, below: str = "videos", within: float = 60, **body: Any
) -> requests.Response:
    """Sends a request, with one Idempotency-Key, until it is answered by something other than a 5xx."""
    headers = stack.caller.headers | {"Idempotency-Key": uuid.uuid4().hex}
    ends = time.monotonic() + within
    last: object = None
    while time.monotonic() < ends:
        try:
            answer = requests.request(
                method,
                f"{stack.settings['TAKEONE_URL']}/api/v1/{below}{path}",
                json=body or None,
                headers=headers,
                timeout=10,
            )
            if answer.status_code < 500:
                return answer
            last = answer.text
        except requests.RequestException as error:
            last = error
        time.sleep(_PAUSE_SECONDS)
    raise NoAnswer(f"{method} {path}: {last}")


def ask_for(stack: Stack, prompt: str, *, within: float = 60, **request: Any) -> str:
    """Asks for a video until it is promised; its job's id."""
    answer = insist(stack, "POST", "", within=within, prompt=prompt, **request)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["jobId"])


def ask_for_batch(stack: Stack, prompts: list[str], *, within: float = 60) -> tuple[str, list[str]]:
    """Asks for a batch until it is promised; its id, and those of its jobs."""
    videos = [{"prompt": prompt} for prompt in prompts]
    answer = insist(stack, "POST", "/batch", within=within, videos=videos, concurrency=2)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["batchId"]), [str(job) for job in answer.json()["data"]["jobIds"]]
