"""`python -m bench.growth`: how large tables and indexes become in an hour with 10,000 renders in flight.

The hour is compressed: the sweeps of an hour follow each other, and what autovacuum does each minute is done
after as many sweeps as a minute has. The baseline is the size of the same rows when they were just written.
"""

import argparse
import json
from datetime import timedelta
from typing import Final

from bench.rig.database import prepared
from bench.sweep import configured_at, fill, stand_in

_TABLES: Final = ("videos_job", "videos_submission", "upstreams_provider")
_MINUTES: Final = 60


def main() -> None:
    """Measures, and prints a line for each relation and a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth")
    parser.add_argument("--renders", type=int, default=10_000)
    chosen = parser.parse_args()
    with (
        prepared(SORA_API_KEY="a-key", SORA_PROVIDER="stand-in", SORA_BASE_URL="http://127.0.0.1:9/v1"),
        stand_in(chosen.renders, render_seconds=36_000) as url,
    ):
        fill(chosen.renders)
        _execute("VACUUM FULL ANALYZE")
        fresh = _sizes()
        most = _hour(url)
    found = {
        f"grown_{name}_growth": round(most[name] / size, 2) for name, size in fresh.items() if size > 1e5
    }
    for name, figure in sorted(found.items(), key=lambda each: -each[1]):
        print(f"{name:<50} {figure:>8g}")
    found["grown_all_growth"] = round(sum(most.values()) / sum(fresh.values()), 2)
    print(json.dumps(found))


def _hour(url: str) -> dict[str, int]:
    """The most that each relation has in an hour of sweeps, in bytes."""
    from django.conf import settings
    from django.db.models import F

    from upstreams.clock import shifted
    from upstreams.models import Provider
    from videos.lifecycle.following.sweep import sweep
    from videos.models import Submission

    apart = settings.SORA_SYNC_SECONDS_MAX
    a_minute = max(1, round(60 / apart))
    upstream = configured_at(url)
    most: dict[str, int] = {}
    for minute in range(_MINUTES):
        for number in range(a_minute):
            # All are old enough to be asked for at the longest interval.
            passed = 3_600 + apart * (1 + minute * a_minute + number)
            Provider.objects.update(sweep_due_at=None, sweep_after="")
            with shifted(timedelta(seconds=passed)):
                sweep(upstream)
        for name, size in _sizes().items():
            most[name] = max(size, most.get(name, 0))
        _execute("VACUUM ANALYZE videos_submission, videos_job, upstreams_provider")
    upstream.client.close()
    late = Submission.objects.filter(seen_at__lt=F("created_at") + timedelta(minutes=_MINUTES))
    assert not late.exists(), "all were seen to the end of the hour"
    return most


def _execute(statement: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement)


def _sizes() -> dict[str, int]:
    """Bytes of each table of _TABLES and of each of its indexes."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_relation_size(c.oid) FROM pg_class c"
            " LEFT JOIN pg_index i ON i.indexrelid = c.oid"
            " WHERE c.relname = ANY(%s) OR i.indrelid = ANY(%s::regclass[])",
            [list(_TABLES), list(_TABLES)],
        )
        return dict(cursor.fetchall())


if __name__ == "__main__":
    main()
