"""The answers for probes and monitoring in the schema."""

from typing import Any, Final

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from health.checks import HEALTHY, NAMES
from videos.states import JobStatus

HEALTH: Final = inline_serializer(
    "Health",
    {
        "status": serializers.CharField(),
        "timestamp": serializers.DateTimeField(),
        "uptime": serializers.FloatField(help_text="Seconds."),
        "version": serializers.CharField(),
    },
)
ALIVE: Final = {"status": "ok", "timestamp": "2026-11-21T10:00:00.000Z", "uptime": 3600.0, "version": "0.1.0"}

# A serializer is bound to one field, so each field has its own.
READY: Final = inline_serializer(
    "Ready",
    {
        "ready": serializers.BooleanField(),
        "checks": inline_serializer(
            "ReadyChecks", {name: serializers.CharField(required=False) for name in NAMES}
        ),
        "timestamp": serializers.DateTimeField(),
    },
)
_ALL_HEALTHY: Final = dict.fromkeys(NAMES, HEALTHY)
IS_READY: Final = {"ready": True, "checks": _ALL_HEALTHY, "timestamp": "2026-11-21T10:00:00.000Z"}
IS_NOT_READY: Final = {
    "ready": False,
    "checks": {
        **_ALL_HEALTHY,
        "soraClient": "unhealthy since 2026-11-21T09:58:31.000Z: the upstream gives no usable answer",
    },
    "timestamp": "2026-11-21T10:00:00.000Z",
}


def _sums(name: str) -> Any:
    return inline_serializer(
        name, {kind: serializers.DecimalField(12, 4) for kind in ("reserved", "settled")}
    )


METRICS: Final = inline_serializer(
    "Metrics",
    {
        "jobs": inline_serializer(
            "JobCounts", {name: serializers.IntegerField() for name in ("total", *JobStatus.values)}
        ),
        "api": inline_serializer(
            "ApiCounts", {"requests": serializers.IntegerField(), "errors": serializers.IntegerField()}
        ),
        "system": inline_serializer(
            "System",
            {
                "uptime": serializers.FloatField(help_text="Seconds."),
                "memory": inline_serializer(
                    "Memory", {"used": serializers.IntegerField(), "total": serializers.IntegerField()}
                ),
            },
        ),
        "spending": inline_serializer(
            "ServiceSpending",
            {"day": _sums("SpendingOfDay"), "month": _sums("SpendingOfMonth")},
            required=False,
            help_text="In dollars, of all owners; for a bearer of METRICS_TOKEN.",
        ),
    },
)
FIGURES: Final = {
    "jobs": {"total": 1000, "pending": 50, "processing": 20, "completed": 900, "failed": 25, "cancelled": 5},
    "api": {"requests": 5000, "errors": 25},
    "system": {"uptime": 86400.0, "memory": {"used": 256000000, "total": 512000000}},
}
