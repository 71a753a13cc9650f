"""`python -m bench.upload`: a batch of 10,000 lines, accepted by a web process of its own.

Prints the peak memory of the process before and after, and the time for each item. The baseline is the create
of a single video in the same process.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests

from bench.rig.database import prepared
from tests.e2e.caller import is_healthy
from tests.e2e.processes import Program, eventually, members, run
from tests.services import free_port

LINES: Final = 10_000
_SINGLES: Final = 100


def main() -> None:
    """Measures, and prints."""
    with prepared() as environment, tempfile.TemporaryDirectory() as folder, _web(environment, folder) as web:
        address, key, program = web
        before = _peak(program)
        began = time.perf_counter()
        for number in range(_SINGLES):
            _post(f"{address}/videos", key, json={"prompt": f"A boat, number {number}"})
        single = (time.perf_counter() - began) / _SINGLES
        began = time.perf_counter()
        answer = _post(
            f"{address}/batches?concurrency=5", key, data=_lines(), headers={"Content-Type": "text/csv"}
        )
        item = (time.perf_counter() - began) / LINES
        assert answer["total"] == LINES
        after = _peak(program)
    found = {
        "upload_peak_mib_before": before,
        "upload_peak_mib_after": after,
        "upload_item_ms": round(1000 * item, 3),
        "upload_single_create_ms": round(1000 * single, 3),
        "upload_item_growth": round(item / single, 3),
    }
    print(json.dumps(found))


def _lines() -> bytes:
    """Prompts of about 200 characters, with some metadata."""
    text = "a paper boat that crosses a puddle at dusk while the rain begins to fall " * 3
    rows = [f'r{number},"{number}: {text[:190]}",8,16:9,"{{""scene"": {number}}}"' for number in range(LINES)]
    return "\n".join(["ref,prompt,duration,aspectRatio,metadata", *rows]).encode()


def _post(address: str, key: str, *, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    answer = requests.post(address, headers={"x-api-key": key, **(headers or {})}, timeout=300, **body)
    assert answer.status_code == 201, answer.text[:1000]
    data: dict[str, Any] = answer.json()["data"]
    return data


@contextmanager
def _web(environment: dict[str, str], folder: str) -> Iterator[tuple[str, str, Program]]:
    """A web server with one process, its address below /api/v1, and a key."""
    port = free_port()
    settings = environment | {
        "TAKEONE_VAR": folder,
        "TAKEONE_BIND": f"127.0.0.1:{port}",
        "WEB_WORKERS": "1",
        "RATE_LIMIT_CREATES_PER_MINUTE": "0",
    }
    make_key = ["manage.py", "keys", "make", "bench", "--new-owner", "--name", "bench", "--scope", "write"]
    key = run(make_key, settings)
    server = ["-m", "gunicorn", "-c", "python:config.server", "config.wsgi"]
    program = Program(server, settings, Path(folder) / "output")
    try:
        eventually(lambda: is_healthy(f"http://127.0.0.1:{port}"), "/health", within=30)
        yield f"http://127.0.0.1:{port}/api/v1", key.strip(), program
    finally:
        program.end()


def _peak(program: Program) -> float:
    """The most that the web process has had resident, in MiB; not its parent, which only watches it."""
    (child,) = (process for process in members(program.session) if process != program.session)
    status = Path(f"/proc/{child}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    main()
