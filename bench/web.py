"""`python -m bench.web`: accepting, reading and listing jobs, beside a plain project with REST framework.

Both run under gunicorn with as many processes and threads, on the same PostgreSQL, and are measured in turns
over 16 connections. All that a create does is on: key, limits, budget, idempotency and history. Worker and
beat run, and the upstream's places are taken by long renders.
"""

import argparse
import itertools
import json
import statistics
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import psycopg
import requests

from bench.rig.deployment import Deployment, running
from bench.rig.load import Load, load, request
from tests.e2e.processes import eventually

CONNECTIONS: Final = 16
PLACES: Final = 4
_ROWS: Final = 10_000
_BODY: Final = {
    "prompt": "A paper boat crosses a puddle at dusk while the rain begins to fall.",
    "duration": 4,
    "resolution": "720p",
    "aspectRatio": "16:9",
    "metadata": {"scene": 12, "title": "Rain"},
}
_PLAIN_BODY: Final = {"prompt": _BODY["prompt"], "metadata": _BODY["metadata"]}


@dataclass
class Pair:
    """One thing that is asked of both servers; `ours` and `plain` make a request for a connection."""

    name: str
    ours: Callable[[int], bytes]
    plain: Callable[[int], bytes]
    status: int = 200
    rounds: list[tuple[Load, Load]] = field(default_factory=list)


def main() -> None:
    """Measures, and prints a table and a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.web")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", default="", help="the beginning of the names to measure")
    chosen = parser.parse_args()
    with running(
        simulator={"render-seconds": "600"}, SORA_CONCURRENCY=str(PLACES), DATABASE_WEB_SECONDS="30"
    ) as deployment:
        found = measure(deployment, chosen.rounds, chosen.seconds, chosen.only)
    print(json.dumps(found))


def measure(deployment: Deployment, rounds: int, seconds: float, only: str = "") -> dict[str, float]:
    """Flat figures by name: the medians of the rounds, their ratio, and the spread of the ratios."""
    pairs = [pair for pair in _pairs(deployment) if pair.name.startswith(only)]
    for warm in (True, *([False] * rounds)):
        for pair in pairs:
            span = min(seconds, 1.0) if warm else seconds
            ours, plain = (
                load(port, ask, connections=CONNECTIONS, seconds=span, status=pair.status)
                for port, ask in ((deployment.web, pair.ours), (deployment.plain, pair.plain))
            )
            if not warm:
                pair.rounds.append((ours, plain))
    found: dict[str, float] = {}
    for pair in pairs:
        figures = _figures(pair)
        found |= {f"{pair.name}_{name}": value for name, value in figures.items()}
        print(
            f"{pair.name:<26} {figures['per_second']:>8.1f}/s  plain {figures['plain_per_second']:>8.1f}/s"
            f"  x {figures['ratio']:.3f} ({figures['ratio_min']:.3f} to {figures['ratio_max']:.3f})"
            f"  p99 {figures['p99_ms']:.1f} ms, x {figures['p99_growth']:.2f}"
        )
    return found


def _figures(pair: Pair) -> dict[str, float]:
    ratios = [ours.rate / plain.rate for ours, plain in pair.rounds]
    return {
        "per_second": round(statistics.median(ours.rate for ours, _ in pair.rounds), 1),
        "plain_per_second": round(statistics.median(plain.rate for _, plain in pair.rounds), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "p50_ms": round(statistics.median(ours.p50 for ours, _ in pair.rounds), 2),
        "p99_ms": round(statistics.median(ours.p99 for ours, _ in pair.rounds), 2),
        "p99_growth": round(statistics.median(ours.p99 / plain.p99 for ours, plain in pair.rounds), 2),
    }


def _pairs(deployment: Deployment) -> list[Pair]:
    # Whose list does not grow while the others create.
    reader, *keys = (deployment.new_key(f"owner-{number}") for number in range(CONNECTIONS + 1))
    read = filled(deployment, reader)
    plain_body = json.dumps(_PLAIN_BODY).encode()
    plain_id = _plain_rows(deployment)
    plain_create = request("POST", "/videos/", plain_body)
    plain_read = request("GET", f"/videos/{plain_id}/")
    plain_list = request("GET", "/videos/")

    def creates(of: Callable[[int], str]) -> Callable[[int], bytes]:
        body, numbers = json.dumps(_BODY).encode(), itertools.count()
        run = uuid.uuid4().hex

        def create(connection: int) -> bytes:
            headers = {"x_api_key": of(connection), "Idempotency_Key": f"{run}-{next(numbers)}"}
            return request("POST", "/api/v1/videos", body, **headers)

        return create

    def same(path: str, key: str = reader) -> Callable[[int], bytes]:
        asked = request("GET", path, x_api_key=key)
        return lambda _: asked

    pairs = [
        Pair(f"read_{kind}", same(f"/api/v1/videos/{pk}"), lambda _: plain_read) for kind, pk in read.items()
    ]
    pairs.append(Pair("accept_one_owner", creates(lambda _: keys[0]), lambda _: plain_create, 201))
    pairs.append(Pair("accept_16_owners", creates(lambda number: keys[number]), lambda _: plain_create, 201))
    lists = "/api/v1/videos?limit=100"
    pairs.append(Pair("list_100", same(lists), lambda _: plain_list))
    for _ in range(100):
        _create(deployment, keys[0])
    pairs.append(Pair("list_100_waiting", same(lists, keys[0]), lambda _: plain_list))
    return pairs


def filled(deployment: Deployment, key: str) -> dict[str, str]:
    """Fills the tables. Returns the ids of a waiting, a running and an ended job of the owner."""
    from bench.rig.rows import copy_ended, end
    from videos.models import Job

    worker = deployment.start_work()
    # They take the upstream's places for as long as the benchmark runs.
    taken = [_create(deployment, key) for _ in range(PLACES)]
    eventually(
        lambda: worker.running() and Job.objects.filter(pk__in=taken, status="processing").count() == PLACES,
        "renders in all places",
        within=60,
    )
    waiting, ended = (_create(deployment, key) for _ in range(2))
    job = Job.objects.get(pk=ended)
    end(job)
    job.refresh_from_db()
    copy_ended(job, _ROWS)
    return {"waiting": waiting, "running": taken[0], "ended": ended}


def _create(deployment: Deployment, key: str) -> str:
    answer = requests.post(
        f"http://127.0.0.1:{deployment.web}/api/v1/videos", json=_BODY, headers={"x-api-key": key}, timeout=30
    )
    answer.raise_for_status()
    return str(answer.json()["data"]["jobId"])


def _plain_rows(deployment: Deployment) -> str:
    """Fills the plain table. Returns the id of a row."""
    address = f"http://127.0.0.1:{deployment.plain}/videos/"
    made = str(requests.post(address, json=_PLAIN_BODY, timeout=30).json()["id"])
    with psycopg.connect(deployment.plain_database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO plain_plainvideo SELECT gen_random_uuid(), prompt, model, seconds, size, priority,"
            " status, metadata, created_at - g * interval '10 s', updated_at"
            " FROM plain_plainvideo, generate_series(1, %s) g",
            [_ROWS],
        )
        connection.execute("VACUUM ANALYZE plain_plainvideo")
    return made


if __name__ == "__main__":
    main()
