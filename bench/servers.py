"""`python -m bench.servers`: our views under our own worker of gunicorn, its threads, and granian.

Each has as many processes and threads. They are measured in turns over 16 connections, with the whole service
behind them. Granian takes part if it is installed; it is no dependency.
"""

import importlib.util
import itertools
import json
import os
import statistics
import uuid
from collections.abc import Callable
from typing import Final

from bench.rig.deployment import THREADS, WORKERS, Deployment, running
from bench.rig.load import load, request
from bench.web import CONNECTIONS, PLACES, filled
from tests.e2e.caller import is_healthy
from tests.e2e.processes import eventually
from tests.services import free_port
from tests.timeouts import TIMEOUT

_ROUNDS: Final = 5
_SECONDS: Final = 2.0
_BODY: Final = {"prompt": "A paper boat crosses a puddle at dusk.", "duration": 4, "resolution": "720p"}


def main() -> None:
    """Measures, and prints a line for each server and call, and a line of JSON."""
    with running(
        simulator={"render-seconds": "600"}, SORA_CONCURRENCY=str(PLACES), DATABASE_WEB_SECONDS="30"
    ) as deployment:
        key = deployment.new_key("one")
        ended = filled(deployment, key)["ended"]
        ports = {"ours": deployment.web} | {name: start(deployment) for name, start in _servers().items()}
        found = _measured(ports, _calls(key, ended))
    for name, figure in found.items():
        print(f"{name:<40} {figure:>10g}")
    print(json.dumps(found))


def _servers() -> dict[str, Callable[[Deployment], int]]:
    """How the others are started; each gives its port."""
    found = {"gthread": _gthread}
    if importlib.util.find_spec("granian"):
        found["granian"] = _granian
    return found


def _gthread(deployment: Deployment) -> int:
    port = free_port()
    shape = ("-k", "gthread", "-w", str(WORKERS), "--threads", str(THREADS), "-b", f"127.0.0.1:{port}")
    deployment.start("gthread", "-m", "gunicorn", *shape, "--keep-alive", "60", "config.wsgi")
    return _up(port)


def _granian(deployment: Deployment) -> int:
    port = free_port()
    shape = ("--workers", str(WORKERS), "--blocking-threads", str(THREADS), "--port", str(port))
    # It may be installed beside the environment.
    path = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    application = ("--interface", "wsgi", "config.wsgi:application")
    deployment.start("granian", "-m", "granian", *shape, *application, **path)
    return _up(port)


def _up(port: int) -> int:
    eventually(lambda: is_healthy(f"http://127.0.0.1:{port}"), "another web server", within=TIMEOUT)
    return port


def _calls(key: str, ended: str) -> dict[str, tuple[Callable[[int], bytes], int]]:
    """By name, what makes a request for a connection, and the status of its answer."""
    read = request("GET", f"/api/v1/videos/{ended}", x_api_key=key)
    page = request("GET", "/api/v1/videos?limit=100", x_api_key=key)
    body, run, numbers = json.dumps(_BODY).encode(), uuid.uuid4().hex, itertools.count()

    def create(_: int) -> bytes:
        once = {"Idempotency_Key": f"{run}-{next(numbers)}"}
        return request("POST", "/api/v1/videos", body, x_api_key=key, **once)

    return {"read": (lambda _: read, 200), "list": (lambda _: page, 200), "accept": (create, 201)}


def _measured(
    ports: dict[str, int], calls: dict[str, tuple[Callable[[int], bytes], int]]
) -> dict[str, float]:
    """The median rate of each server and call, and the median of its ratios to ours."""
    rates: dict[tuple[str, str], list[float]] = {(server, call): [] for server in ports for call in calls}
    for warm in (True, *([False] * _ROUNDS)):
        for (server, call), found in rates.items():
            ask, status = calls[call]
            done = load(ports[server], ask, connections=CONNECTIONS, seconds=_SECONDS, status=status)
            if not warm:
                found.append(done.rate)
    figures: dict[str, float] = {}
    for (server, call), found in rates.items():
        figures[f"server_{server}_{call}_per_second"] = round(statistics.median(found), 1)
        if server != "ours":
            ratios = [theirs / mine for theirs, mine in zip(found, rates["ours", call], strict=True)]
            figures[f"server_{server}_{call}_to_ours"] = round(statistics.median(ratios), 3)
    return figures


if __name__ == "__main__":
    main()
