"""The figures of /metrics as Prometheus text."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from health.checks import HEALTHY
from health.metrics.observations import HTTP_SECONDS, STAGE_SECONDS, UPSTREAM_SECONDS
from health.models import Counter, Snapshot
from health.readiness.checker import Readiness
from upstreams.models import Provider
from videos.models import Heartbeat

_COUNTERS: Final = {
    "takeone_http_requests": ("Answers, by method, route and status.", ("method", "route", "status")),
    "takeone_upstream_requests": (
        "Calls to the upstream, with their retries, by what they came to.",
        ("call", "outcome"),
    ),
    "takeone_submission_moves": ("Submissions that entered a state.", ("state",)),
}
_HISTOGRAMS: Final = {
    "takeone_http_request_seconds": ("Until an answer's body began.", ("method",), HTTP_SECONDS),
    "takeone_upstream_request_seconds": ("How long calls took.", ("call",), UPSTREAM_SECONDS),
    "takeone_stage_seconds": ("How long jobs were in a stage.", ("stage",), STAGE_SECONDS),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that is shown, as read at `now`. Figures from the database are None while it is down."""

    readiness: Readiness
    snapshot: Snapshot | None
    counters: Mapping[str, Mapping[str, float]]
    heartbeats: Iterable[Heartbeat]
    providers: Iterable[Provider]
    now: datetime | None
    with_money: bool


def read_counters() -> dict[str, dict[str, float]]:
    """The database's counters by name and labels, in one statement, with one row for each set of labels."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for name, labels, value in Counter.objects.values_list("name", "labels", "value"):
        found[name][labels] = value
    return found


def expose(figures: Figures, accept: str) -> tuple[bytes, str]:
    """The text and its content type: OpenMetrics if the client accepts it, else the Prometheus format."""
    registry = CollectorRegistry()
    registry.register(_Collector(figures))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        # Nothing is collected for the sake of names.
        return ()

    def collect(self) -> Iterator[Metric]:
        figures = self._figures
        yield _gauge(
            "takeone_check_healthy",
            "1 if a check of /ready finds nothing wrong.",
            "check",
            {name: float(said == HEALTHY) for name, said in figures.readiness.checks.items()},
        )
        yield GaugeMetricFamily("takeone_ready", "1 if /ready is 200.", figures.readiness.ready)
        if figures.snapshot is not None and figures.now is not None:
            yield from _of_rows(figures.snapshot, figures.now, with_money=figures.with_money)
        if figures.now is not None:
            yield from _of_contacts(figures, figures.now)
        for name, (text, labels) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for encoded, value in sorted(figures.counters.get(name, {}).items()):
                counter.add_metric(_values(encoded, labels), value)
            yield counter
        for name, (text, labels, bounds) in _HISTOGRAMS.items():
            yield _histogram(name, text, labels, bounds, figures.counters)


def _of_rows(snapshot: Snapshot, now: datetime, *, with_money: bool) -> Iterator[Metric]:
    found: dict[str, Any] = snapshot.figures
    if snapshot.measured_at is None:
        return
    since = max(0.0, (now - snapshot.measured_at).total_seconds())
    yield GaugeMetricFamily("takeone_snapshot_age_seconds", "Since all rows were counted.", since)
    yield GaugeMetricFamily("takeone_snapshot_duration_seconds", "How long counting took.", snapshot.took)
    yield _gauge("takeone_jobs", "Jobs by status.", "status", found["jobs"])
    yield _gauge("takeone_submissions", "Submissions by state.", "state", found["submissions"])
    yield _gauge("takeone_queue_jobs", "Pending jobs by priority.", "priority", found["queue"])
    ages = {each: age + since if found["queue"][each] else 0.0 for each, age in found["oldest"].items()}
    yield _gauge("takeone_queue_oldest_seconds", "Age of the oldest pending job.", "priority", ages)
    unknown = found["submissions"]["unknown"]
    yield GaugeMetricFamily("takeone_unknown_outcomes", "Creates of unknown outcome.", unknown)
    oldest = found["oldest_unknown"] + since if unknown else 0.0
    yield GaugeMetricFamily("takeone_unknown_outcomes_oldest_seconds", "Age of the oldest of them.", oldest)
    if with_money:
        money = GaugeMetricFamily(
            "takeone_spending_dollars",
            "Of all owners, this day and month.",
            labels=["period", "kind"],
        )
        for period, kinds in found["spending"].items():
            for kind, units in kinds.items():
                money.add_metric([period, kind], units / 10_000)
        yield money


def _of_contacts(figures: Figures, now: datetime) -> Iterator[Metric]:
    heartbeats = GaugeMetricFamily(
        "takeone_heartbeat_age_seconds", "Since the last sign of life.", labels=["role", "kind"]
    )
    for row in figures.heartbeats:
        heartbeats.add_metric([row.role, "alive"], (now - row.alive_at).total_seconds())
        if row.worked_at is not None:
            heartbeats.add_metric([row.role, "worked"], (now - row.worked_at).total_seconds())
    yield heartbeats
    contact = GaugeMetricFamily(
        "takeone_upstream_contact_age_seconds",
        "Since its last usable answer.",
        labels=["provider"],
    )
    failures = GaugeMetricFamily(
        "takeone_upstream_failures_in_a_row",
        "Creates that failed since one was accepted.",
        labels=["provider"],
    )
    blocked = GaugeMetricFamily(
        "takeone_upstream_blocked", "1 if nothing is sent, for this reason.", labels=["provider", "reason"]
    )
    for provider in figures.providers:
        if provider.answered_at is not None:
            contact.add_metric([provider.name], max(0.0, (now - provider.answered_at).total_seconds()))
        failures.add_metric([provider.name], provider.failures)
        blocked.add_metric([provider.name, "paused"], provider.paused_at is not None)
        blocked.add_metric([provider.name, "stopped"], provider.stopped_at is not None)
        blocked.add_metric([provider.name, "unrecognized"], provider.unrecognized_at is not None)
    yield contact
    yield failures
    yield blocked


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, text, labels=[label])
    for value_of, value in values.items():
        gauge.add_metric([value_of], value)
    return gauge


def _histogram(
    name: str,
    text: str,
    labels: tuple[str, ...],
    bounds: tuple[float, ...],
    counters: Mapping[str, Mapping[str, float]],
) -> HistogramMetricFamily:
    histogram = HistogramMetricFamily(name, text, labels=labels)
    found: dict[tuple[str, ...], dict[float, float]] = defaultdict(dict)
    for encoded, value in counters.get(f"{name}_bucket", {}).items():
        found[tuple(_values(encoded, labels))][float(json.loads(encoded)["le"])] = value
    sums = {tuple(_values(each, labels)): value for each, value in counters.get(f"{name}_sum", {}).items()}
    for key, kept in sorted(found.items()):
        total, buckets = 0.0, []
        # Bounds of an earlier release are still in the database and are counted as well.
        for bound in sorted({*kept, *bounds, inf}):
            total += kept.get(bound, 0.0)
            buckets.append((f"{bound:g}" if bound < inf else "+Inf", total))
        histogram.add_metric(list(key), buckets, sums.get(key, 0.0))
    return histogram


def _values(encoded: str, labels: Iterable[str]) -> list[str]:
    decoded = json.loads(encoded)
    return [decoded.get(label, "") for label in labels]
