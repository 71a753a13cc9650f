"""For probes and monitoring; no key needed."""

import os
import resource
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from health import checks
from health.middleware import counts
from upstreams.breaker import is_tripped
from upstreams.models import Provider
from videos.models import Job
from videos.states import JobStatus

_started = time.monotonic()


def _now() -> str:
    return timezone.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _uptime() -> float:
    return round(time.monotonic() - _started, 3)


class _Open(APIView):
    """Answers anybody."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()


class HealthView(_Open):
    """Whether the process runs."""

    @extend_schema(
        operation_id="getHealth",
        summary="Is the process alive?",
        tags=["health"],
        responses=inline_serializer(
            "Health",
            {
                "status": serializers.CharField(),
                "timestamp": serializers.DateTimeField(),
                "uptime": serializers.FloatField(help_text="Seconds."),
                "version": serializers.CharField(),
            },
        ),
        examples=[
            OpenApiExample(
                "Alive",
                value={
                    "status": "ok",
                    "timestamp": "2026-11-21T10:00:00.000Z",
                    "uptime": 3600.0,
                    "version": "0.1.0",
                },
            )
        ],
    )
    def get(self, request: Request) -> Response:
        """Asks nothing of the database or the upstream."""
        return Response(
            {"status": "ok", "timestamp": _now(), "uptime": _uptime(), "version": settings.VERSION}
        )


_READY = inline_serializer(
    "Ready",
    {
        "ready": serializers.BooleanField(),
        "checks": inline_serializer(
            "ReadyChecks", {"repository": serializers.CharField(), "soraClient": serializers.CharField()}
        ),
        "timestamp": serializers.DateTimeField(),
    },
)


class ReadyView(_Open):
    """Whether requests can be served."""

    @extend_schema(
        operation_id="getReady",
        summary="Can it serve?",
        tags=["health"],
        responses={200: _READY, 503: _READY},
        examples=[
            OpenApiExample(
                "Ready",
                value={
                    "ready": True,
                    "checks": {"repository": "healthy", "soraClient": "healthy"},
                    "timestamp": "2026-11-21T10:00:00.000Z",
                },
                status_codes=["200"],
            ),
            OpenApiExample(
                "Not ready",
                value={
                    "ready": False,
                    "checks": {"repository": "healthy", "soraClient": "unhealthy: Unavailable"},
                    "timestamp": "2026-11-21T10:00:00.000Z",
                },
                status_codes=["503"],
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        """200, or 503 with the check that fails."""
        found = {"repository": checks.repository(), "soraClient": checks.sora_client()}
        if found["repository"] == checks.HEALTHY and found["soraClient"] == checks.HEALTHY:
            provider = Provider.objects.filter(name=settings.SORA_PROVIDER).first()
            if provider is not None and provider.paused_at is not None:
                found["soraClient"] = f"paused: {provider.pause_reason}"
            elif provider is not None and is_tripped(provider):
                failures = f"{provider.failures} creates in a row have failed"
                found["soraClient"] = f"{failures}: {provider.sending_backoff_reason}"
        ready = all(answer == checks.HEALTHY for answer in found.values())
        return Response({"ready": ready, "checks": found, "timestamp": _now()}, 200 if ready else 503)


class MetricsView(_Open):
    """Figures of the service."""

    @extend_schema(
        operation_id="getMetrics",
        summary="Figures",
        tags=["health"],
        responses=inline_serializer(
            "Metrics",
            {
                "jobs": inline_serializer(
                    "JobCounts",
                    {name: serializers.IntegerField() for name in ("total", *JobStatus.values)},
                ),
                "api": inline_serializer(
                    "ApiCounts",
                    {"requests": serializers.IntegerField(), "errors": serializers.IntegerField()},
                ),
                "system": inline_serializer(
                    "System",
                    {
                        "uptime": serializers.FloatField(help_text="Seconds."),
                        "memory": inline_serializer(
                            "Memory",
                            {"used": serializers.IntegerField(), "total": serializers.IntegerField()},
                        ),
                    },
                ),
            },
        ),
        examples=[
            OpenApiExample(
                "Figures",
                value={
                    "jobs": {
                        "total": 1000,
                        "pending": 50,
                        "processing": 20,
                        "completed": 900,
                        "failed": 25,
                        "cancelled": 5,
                    },
                    "api": {"requests": 5000, "errors": 25},
                    "system": {"uptime": 86400.0, "memory": {"used": 256000000, "total": 512000000}},
                },
            )
        ],
    )
    def get(self, request: Request) -> Response:
        """Jobs of the whole service; requests, uptime and memory (bytes) of the process that answers."""
        by_status = dict(Job.objects.order_by().values_list("status").annotate(Count("pk")))
        jobs: dict[str, Any] = {status: by_status.get(status, 0) for status in JobStatus.values}
        return Response(
            {
                "jobs": {"total": sum(jobs.values()), **jobs},
                "api": {"requests": counts.requests, "errors": counts.errors},
                "system": {"uptime": _uptime(), "memory": _memory()},
            }
        )


def _memory() -> dict[str, int]:
    page = os.sysconf("SC_PAGE_SIZE")
    statm = Path("/proc/self/statm")
    if statm.exists():
        used = int(statm.read_text().split()[1]) * page
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"used": used, "total": os.sysconf("SC_PHYS_PAGES") * page}
