"""A server of S3's protocol: moto, in a process of its own.

It proves the calls and their answers. It does not look at signatures, so it does not prove that a link ends.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from tests.services import free_port

_START_SECONDS = 30


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address. What it keeps is in its memory."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # Requests without a signature, as those of a link are, are refused before so many others.
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "1000000"}
    with subprocess.Popen(command, env=environment, **silent) as server:  # type: ignore[call-overload]
        try:
            address = f"http://127.0.0.1:{port}"
            ends = time.monotonic() + _START_SECONDS
            while not _answers(address):
                assert server.poll() is None, "moto has ended"
                assert time.monotonic() < ends, "moto does not answer"
                time.sleep(0.05)
            yield address
        finally:
            server.kill()


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/moto-api/", timeout=5).ok
    except requests.ConnectionError:
        return False
