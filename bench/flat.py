"""`python -m bench.flat`: how much longer reads, lists and usage take with a hundred times as many jobs.

The application is called in this process, without a server. All jobs are one owner's, over the same days.
"""

import argparse
import json
import statistics
import time
from typing import Any, Final

from bench.rig.database import prepared

_DAYS: Final = 100
_ROUNDS: Final = 15


def main() -> None:
    """Measures, and prints a line for each figure and a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.flat")
    parser.add_argument("--rows", type=int, nargs=2, default=[10_000, 1_000_000], metavar=("FEW", "MANY"))
    few, many = parser.parse_args().rows
    with prepared(
        SORA_API_KEY="a-key",
        SORA_PROVIDER="stand-in",
        SORA_BASE_URL="http://127.0.0.1:9/v1",
        RATE_LIMIT_READS_PER_MINUTE="0",
    ):
        caller, job = _first()
        _fill(job, few, after=0)
        with_few = _measured(caller, job)
        _fill(job, many - few, after=few)
        with_many = _measured(caller, job)
    found: dict[str, float] = {}
    for name, seconds in with_many.items():
        found[f"flat_{name}_ms"] = round(1000 * seconds, 2)
        found[f"flat_{name}_growth"] = round(seconds / with_few[name], 2)
        print(
            f"{name:<40} {1000 * with_few[name]:>9.2f} ms {1000 * seconds:>9.2f} ms"
            f"  x {found[f'flat_{name}_growth']:.2f}"
        )
    print(json.dumps(found))


def _first() -> tuple[Any, Any]:
    """A caller, and a job of its own that has ended."""
    from django.test import Client

    from accounts.models import ApiKey, User
    from bench.rig.rows import end
    from upstreams import registry
    from upstreams.offer.request import VideoRequest
    from videos.lifecycle.create import create
    from videos.models import Job

    owner = User.objects.create_user("one")
    key, secret = ApiKey.issue(owner, "bench")
    for upstream in registry.configured():
        upstream.provider()
    job = create(VideoRequest(prompt="A paper boat crosses a puddle."), owner=owner, api_key=key)
    end(job)
    return Client(headers={"x-api-key": secret, "host": "127.0.0.1"}), Job.objects.get(pk=job.pk)


def _fill(job: Any, count: int, *, after: int) -> None:
    from bench.rig.rows import copy_ended
    from videos.usage.count import count_some

    copy_ended(job, count, apart=max(1, _DAYS * 86_400 // count), after=after)
    while count_some():
        pass
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _measured(caller: Any, job: Any) -> dict[str, float]:
    """The median seconds of each address, asked in turns."""
    addresses = _addresses(caller, job)
    taken: dict[str, list[float]] = {name: [] for name in addresses}
    for _ in range(_ROUNDS):
        for name, address in addresses.items():
            began = time.perf_counter()
            answer = caller.get(address)
            taken[name].append(time.perf_counter() - began)
            if answer.status_code != 200:
                raise SystemExit(f"{address} was answered with {answer.status_code}")
    return {name: statistics.median(each) for name, each in taken.items()}


def _addresses(caller: Any, job: Any) -> dict[str, str]:
    """By name: a job, and the list by page, cursor, and each filter and pair of filters."""
    from datetime import timedelta

    def at(days: int) -> str:
        return (job.created_at - timedelta(days=days)).isoformat().replace("+00:00", "Z")

    filters = {
        "status": "status=failed",
        "priority": "priority=high",
        "after": f"createdAfter={at(60)}",
        "before": f"createdBefore={at(50)}",
    }
    queries = {"": "", **filters}
    names = list(filters)
    for number, one in enumerate(names):
        queries |= {f"{one}_{other}": f"{filters[one]}&{filters[other]}" for other in names[number + 1 :]}
    found = {"read": f"/api/v1/videos/{job.pk}"}
    for name, query in queries.items():
        found["_".join(filter(None, ["list", name]))] = f"/api/v1/videos?limit=20&{query}"
    found["list_page_20"] = "/api/v1/videos?limit=20&page=20"
    cursor = caller.get(found["list_before"]).json()["pagination"]["nextCursor"]
    found["list_cursor"] = f"/api/v1/videos?limit=20&cursor={cursor}"
    found["usage"] = "/api/v1/usage"
    found["usage_by_status"] = "/api/v1/usage?by=status"
    return found


if __name__ == "__main__":
    main()
