"""`python -m bench.claim`: what one claim, and one read of a waiting job, cost as the queue grows.

50 owners and 500 groups. The baseline is the same with a hundredth of the jobs. For comparison it also
measures a window function over all waiting jobs, the simple way to serve owners round robin.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from bench.rig.database import prepared

OWNERS: Final = 50
GROUPS: Final = 500
JOBS: Final = 100_000
ALIKE: Final = 10_000
_REPEATS: Final = 60
_WINDOW: Final = """
SELECT id FROM (
    SELECT id, priority, asked_at, row_number() OVER (
        PARTITION BY owner_id, priority ORDER BY asked_at, id
    ) AS place
    FROM videos_job WHERE status = 'pending' AND due_at <= now()
) ranked ORDER BY priority DESC, place, asked_at LIMIT 1
"""


def main() -> None:
    """Measures, and prints."""
    with prepared(MAX_IN_FLIGHT_JOBS="0"):
        found = {f"{count:,} jobs": _measured(count) for count in (JOBS // 100, JOBS)}
    small, large = found.values()
    ratios = {name: round(large[name] / small[name], 2) for name in large}
    for name, ratio in ratios.items():
        print(f"{name:<22} {small[name]:>9.2f} ms {large[name]:>9.2f} ms   x {ratio}")
    figures = {f"{name} ms": ms for name, ms in large.items()}
    figures |= {f"{name} growth": ratio for name, ratio in ratios.items() if "window" not in name}
    print(json.dumps({name.replace(" ", "_"): figure for name, figure in figures.items()}))


def _measured(count: int) -> dict[str, float]:
    from django.db import connection

    from accounts.models import User
    from tests.videos.scripted import scripted
    from videos.models import Group, Job, Submission

    for model in (Submission, Job, Group):
        model._default_manager.all().delete()
    User.objects.all().delete()
    upstream = replace(scripted(), concurrency=10_000)
    upstream.provider()
    _fill(count)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE videos_job")

    from django.core.cache import cache

    from videos.queue.claims.claim import claim
    from videos.queue.position import estimates
    from videos.queue.position.estimates import queue_positions
    from videos.reads.rows import owned_row

    def window() -> None:
        with connection.cursor() as cursor:
            cursor.execute(_WINDOW)
            cursor.fetchone()

    last = Job.objects.select_related("owner").order_by("-asked_at").first()
    assert last is not None

    def read() -> None:
        row = owned_row(last.owner, last.pk)
        assert row is not None
        assert queue_positions([row])[last.pk].position

    def cold_read() -> None:
        cache.clear()
        estimates._last_made = None
        read()

    read()
    found = {
        "claim": _median(lambda: claim(upstream)),
        "window over all": _median(window, repeats=5),
        "read of a job": _median(read),
        "its first read": _median(cold_read, repeats=10),
    }
    # All are equal and one is undecided: a claim tries each and finds none.
    Submission.objects.all().delete()
    Job.objects.all().delete()
    _fill(min(count, ALIKE), alike=True)
    assert claim(upstream)
    found["claim beside alike"] = _median(lambda: claim(upstream))
    return found


def _median(call: Callable[[], Any], repeats: int = _REPEATS) -> float:
    """Milliseconds."""
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(took), 3)


def _fill(count: int, *, alike: bool = False) -> None:
    """Makes waiting jobs, a third of them without a group; or all of one owner, and equal."""
    from django.utils import timezone

    from accounts.models import User
    from videos.models import Group, Job

    owners = list(User.objects.all()) or User.objects.bulk_create(
        User(username=f"owner {number}") for number in range(OWNERS)
    )
    groups = list(Group.objects.all()) or Group.objects.bulk_create(
        Group(owner=owners[number % OWNERS], limit=3) for number in range(GROUPS)
    )
    now = timezone.now()

    def jobs() -> Any:
        for number in range(count):
            group = groups[number % GROUPS] if number % 3 and not alike else None
            owner = group.owner if group else owners[0 if alike else number % OWNERS]
            asked_at = now - timedelta(hours=1) + timedelta(milliseconds=number)
            yield Job(
                owner=owner,
                group=group,
                prompt=f"boat {number}",
                fitted={"prompt": f"boat {number}", "model": "sora-2", "seconds": "4", "size": "1280x720"},
                match_key="alike" if alike else f"{number}",
                priority=1 if alike else number % 10 // 4,
                due_at=asked_at,
                created_at=asked_at,
                asked_at=asked_at,
                updated_at=asked_at,
            )

    made = jobs()
    while some := list(islice(made, 2000)):
        Job.objects.bulk_create(some)


if __name__ == "__main__":
    main()
