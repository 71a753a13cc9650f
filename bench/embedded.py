"""`python -m bench.embedded`: what `make up` takes, on SQLite, with the simulator: time, memory, processor.

It starts the program that `make up` starts, twice: the first start also makes the database.
"""

import argparse
import itertools
import json
import tempfile
import time
import uuid
from pathlib import Path
from typing import Final

import requests

from bench.rig.load import load, request
from bench.work import processor_seconds
from tests.e2e.processes import Program, eventually, memory_bytes
from tests.services import free_port

_CONNECTIONS: Final = 8
_BODY: Final = {"prompt": "A paper boat crosses a puddle at dusk.", "duration": 4, "resolution": "720p"}


def main() -> None:
    """Measures, and prints a line for each figure and a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.embedded")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds of rest that are measured")
    chosen = parser.parse_args()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="takeone-bench-") as name:
        for start in ("first_start", "start"):
            program, port, took = _started(Path(name))
            try:
                found[f"embedded_{start}_seconds"] = round(took, 2)
                if start == "start":
                    found |= _rest(program, chosen.idle) | _accepts(Path(name), port)
            finally:
                program.interrupt()
                program.ends(within=30)
    for figure, value in found.items():
        print(f"{figure:<40} {value:>10g}")
    print(json.dumps(found))


def _started(folder: Path) -> tuple[Program, int, float]:
    """The program, its port, and the seconds until it first answered."""
    port = free_port()
    settings = {
        "TAKEONE_VAR": str(folder),
        "SIMULATOR_OPTIONS": "--tiny",
        "DATABASE_URL": "",
        "REDIS_URL": "",
    }
    settings |= {"RATE_LIMIT_CREATES_PER_MINUTE": "0"}
    began = time.perf_counter()
    program = Program(["-m", "config.embedded.up", "--port", str(port)], settings, folder.with_suffix(".log"))
    eventually(lambda: program.running() and _answers(port), "an answer", within=60, every=0.01)
    return program, port, time.perf_counter() - began


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=1).ok
    except requests.RequestException:
        return False


def _rest(program: Program, seconds: float) -> dict[str, float]:
    """Memory and processor of all its processes while nobody asks for anything."""
    # What is done at the start is over.
    time.sleep(5)
    before = processor_seconds(program)
    time.sleep(seconds)
    used = processor_seconds(program) - before
    return {
        "embedded_memory_mb": round(sum(memory_bytes(program.session).values()) / 1e6, 1),
        "embedded_idle_percent": round(100 * used / seconds, 2),
    }


def _accepts(folder: Path, port: int) -> dict[str, float]:
    """How many videos a second are asked for over some connections."""
    lines = (folder / "takeone.env").read_text().splitlines()
    (key,) = (line.partition("=")[2].strip("'\"") for line in lines if "TAKEONE_API_KEY=" in line)
    body, run, numbers = json.dumps(_BODY).encode(), uuid.uuid4().hex, itertools.count()

    def create(_: int) -> bytes:
        once = {"Idempotency_Key": f"{run}-{next(numbers)}"}
        return request("POST", "/api/v1/videos", body, x_api_key=key, **once)

    done = load(port, create, connections=_CONNECTIONS, seconds=5.0, status=201)
    return {"embedded_accepts_per_second": round(done.rate, 1), "embedded_accept_p99_ms": round(done.p99, 1)}


if __name__ == "__main__":
    main()
