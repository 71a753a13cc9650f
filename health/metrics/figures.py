"""Reads the figures in a few statements, whose cost does not depend on the number of jobs."""

import json
import os
import resource
from decimal import Decimal
from pathlib import Path
from typing import Any

from health import liveness
from health.metrics.counters import counters
from health.metrics.exposition import Figures, read_counters
from health.metrics.snapshot import latest
from health.readiness.checker import checker
from upstreams.clock import database_now
from upstreams.models import Provider
from videos.models import Heartbeat


def read(*, with_money: bool) -> Figures:
    """All figures. Raises DatabaseError."""
    # What this process has counted is shown at once, that of others within seconds.
    counters.flush()
    return Figures(
        readiness=checker.readiness(),
        snapshot=latest(),
        counters=read_counters(),
        heartbeats=list(Heartbeat.objects.order_by("role")),
        providers=list(Provider.objects.order_by("name")),
        now=database_now(),
        with_money=with_money,
    )


def without_database() -> Figures:
    """The figures that are known without the database."""
    return Figures(checker.readiness(), None, {}, (), (), None, with_money=False)


def as_json(*, with_money: bool) -> dict[str, Any]:
    """The figures that US-011 names. Raises DatabaseError."""
    counters.flush()
    found = latest().figures
    jobs = found.get("jobs", {})
    by_status: dict[int, float] = {}
    for labels, count in read_counters().get("takeone_http_requests", {}).items():
        status = int(json.loads(labels)["status"])
        by_status[status] = by_status.get(status, 0) + count
    figures = {
        "jobs": {"total": sum(jobs.values()), **jobs},
        "api": {
            "requests": int(sum(by_status.values())),
            "errors": int(sum(count for status, count in by_status.items() if status >= 500)),
        },
        "system": {"uptime": liveness.uptime(), "memory": _memory()},
    }
    if with_money:
        figures["spending"] = {
            period: {kind: str(Decimal(units) / 10_000) for kind, units in kinds.items()}
            for period, kinds in found.get("spending", {}).items()
        }
    return figures


def _memory() -> dict[str, int]:
    page = os.sysconf("SC_PAGE_SIZE")
    statm = Path("/proc/self/statm")
    if statm.exists():
        used = int(statm.read_text().split()[1]) * page
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"used": used, "total": os.sysconf("SC_PHYS_PAGES") * page}
