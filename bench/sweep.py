"""`python -m bench.sweep`: what a round over all renders in flight takes, and what recording their ends does.

The upstream is bench.rig.upstream. The baseline reads the same pages with requests, and keeps nothing.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

import requests

from bench.rig.database import prepared
from simulator.clips.render import render
from simulator.clips.spec import ClipSpec
from tests.e2e.processes import Program, eventually
from tests.services import free_port

_OWNERS: Final = 16
_COMPLETED: Final = 2_000
_ROUNDS: Final = 3
_TOGETHER: Final = 2_000
_PRICE: Final = Decimal("0.40")


@dataclass
class Round:
    """What one sweep took; statements are those besides BEGIN and COMMIT."""

    seconds: float
    requests: int
    statements: int
    grown_mb: float


def main() -> None:
    """Measures, and prints a line for each figure and a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.sweep")
    parser.add_argument("--renders", type=int, nargs="+", default=[10_000, 100_000])
    chosen = parser.parse_args()
    found: dict[str, float] = {}
    with prepared(SORA_API_KEY="a-key", SORA_PROVIDER="stand-in", SORA_BASE_URL="http://127.0.0.1:9/v1"):
        for count in chosen.renders:
            with stand_in(count, render_seconds=3_600) as url:
                fill(count)
                plain = min(_plain(url) for _ in range(_ROUNDS))
                rounds = [_swept(url, count) for _ in range(_ROUNDS)]
            worst = max(rounds, key=lambda each: each.seconds)
            found |= {
                f"sweep_{count}_seconds": round(worst.seconds, 2),
                f"sweep_{count}_plain_seconds": round(plain, 2),
                f"sweep_{count}_ratio": round(plain / worst.seconds, 3),
                f"sweep_{count}_requests": worst.requests,
                f"sweep_{count}_statements": worst.statements,
                f"sweep_{count}_grown_mb": round(max(each.grown_mb for each in rounds[1:]), 1),
            }
        with stand_in(_COMPLETED, render_seconds=0) as url:
            fill(_COMPLETED)
            ended = _swept(url, _COMPLETED, state="rendered")
        found["sweep_ends_per_second"] = round(_COMPLETED / ended.seconds, 1)
        found["sweep_ends_statements"] = ended.statements
    for name, figure in found.items():
        print(f"{name:<32} {figure:>12g}")
    print(json.dumps(found))


@contextmanager
def stand_in(videos: int, render_seconds: float) -> Iterator[str]:
    """The address of an upstream that has so many videos."""
    with tempfile.TemporaryDirectory(prefix="takeone-bench-") as name:
        folder, port = Path(name), free_port()
        render(ClipSpec(str(folder / "clip"), "clip", "clip", 64, 64, 1, os.getppid()))
        given = ["--videos", str(videos), "--render-seconds", str(render_seconds)]
        command = ["-m", "bench.rig.upstream", "--port", str(port), "--clip", str(folder / "clip"), *given]
        program = Program(command, {}, folder / "upstream.log")
        url = f"http://127.0.0.1:{port}/v1"
        try:
            eventually(lambda: _answers(url), "an upstream", within=30)
            yield url
        finally:
            program.end()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/counts", timeout=5).ok
    except requests.RequestException:
        return False


def _plain(url: str) -> float:
    began = time.perf_counter()
    with requests.Session() as session:
        after: dict[str, str] = {}
        while True:
            page = session.get(
                f"{url}/videos", params={"limit": "100", "order": "desc", **after}, timeout=5
            ).json()
            if not page["has_more"]:
                return time.perf_counter() - began
            after = {"after": page["last_id"]}


def _swept(url: str, count: int, state: str = "rendering") -> Round:
    """One sweep in which all are due, with the real client."""
    from django.db import connection

    from upstreams.models import Provider
    from videos.lifecycle.following.sweep import sweep
    from videos.models import Submission

    upstream = configured_at(url)
    Submission.objects.update(due_at=None)
    Provider.objects.update(sweep_due_at=None, sweep_after="")
    _vacuum()
    asked, began_with = _lists(url), _resident_mb()
    statements = _Statements()
    with connection.execute_wrapper(statements):
        began = time.perf_counter()
        sweep(upstream)
        took = time.perf_counter() - began
    upstream.client.close()
    left = Submission.objects.filter(state=state, due_at__isnull=False).count()
    assert left == count, f"{left} of {count} were seen"
    return Round(took, _lists(url) - asked, statements.count, _resident_mb() - began_with)


def configured_at(url: str) -> Any:
    """The configured upstream at this address, with the real client, which its caller closes."""
    from dataclasses import replace

    from upstreams import registry
    from upstreams.calls.contact import ObservedClient

    (configured,) = registry.configured()
    client = ObservedClient(
        url, "a-key", name=configured.name, dialect=configured.dialect, timeout=30, retries=2, retry_delay=0.1
    )
    return replace(configured, client=client)


class _Statements:
    """Counts what is sent to the database, and keeps none of it."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Callable[..., Any], *given: Any) -> Any:
        self.count += 1
        return execute(*given)


def _lists(url: str) -> int:
    return int(requests.get(f"{url}/counts", timeout=5).json().get("list", 0))


def _resident_mb() -> float:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _vacuum() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE videos_submission, videos_job")


def fill(count: int) -> None:
    """Makes renders in flight, under the ids of the upstream."""
    from django.utils import timezone

    from accounts.models import Reservation, User
    from upstreams.models import Provider
    from videos.models import Job, JobEvent, Submission
    from videos.states import CostState, JobStatus, SubmissionState

    for model in (JobEvent, Submission, Job, Reservation):
        model._default_manager.all().delete()
    owners = list(User.objects.all()) or User.objects.bulk_create(
        User(username=f"owner {number}") for number in range(_OWNERS)
    )
    provider, _ = Provider.objects.get_or_create(name="stand-in")
    at = timezone.now() - timedelta(minutes=1)
    numbers = iter(range(count))
    while some := list(islice(numbers, _TOGETHER)):
        reserved = Reservation.objects.bulk_create(
            Reservation(owner=owners[number % _OWNERS], amount=_PRICE, made_on=at.date(), counting="new")
            for number in some
        )
        asked = {
            number: {"prompt": f"boat {number}", "model": "sora-2", "seconds": "4", "size": "1280x720"}
            for number in some
        }
        jobs = Job.objects.bulk_create(
            Job(
                owner=owners[number % _OWNERS],
                prompt=asked[number]["prompt"],
                model="sora-2",
                upstream="stand-in",
                fitted=asked[number],
                match_key=f"{number}",
                status=JobStatus.PROCESSING,
                estimated_cost=_PRICE,
                due_at=at,
                created_at=at,
                asked_at=at,
                started_at=at,
                updated_at=at,
            )
            for number in some
        )
        JobEvent.objects.bulk_create(JobEvent.drafts(jobs, "pending", at))
        Submission.objects.bulk_create(
            Submission(
                job=job,
                number=1,
                provider=provider,
                match_key=f"{number}",
                state=SubmissionState.RENDERING,
                cost_state=CostState.RESERVED,
                price=_PRICE,
                reservation=reservation,
                lease_until=at,
                give_up_at=at + timedelta(days=1),
                request=asked[number],
                model="sora-2",
                seconds="4",
                upstream_id=f"video_{number}",
                due_at=at,
                created_at=at,
                accepted_at=at,
                seen_at=at,
            )
            for number, job, reservation in zip(some, jobs, reserved, strict=True)
        )


if __name__ == "__main__":
    main()
