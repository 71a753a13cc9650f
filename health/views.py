"""Views for probes and monitoring. They need no key."""

from typing import Final

from django.db import DatabaseError
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from health import liveness, schema
from health.metrics import figures
from health.metrics.exposition import expose
from health.metrics.negotiation import accepted, form_of, may_see_money
from health.readiness.checker import checker


class _Open(APIView):
    """A view without authentication."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()


class HealthView(_Open):
    """Whether the process runs."""

    @extend_schema(
        operation_id="getHealth",
        summary="Is the process alive?",
        tags=["health"],
        responses=schema.HEALTH,
        examples=[OpenApiExample("Alive", value=schema.ALIVE)],
    )
    def get(self, request: Request) -> Response:
        """Asks nothing of the database or the upstream."""
        return Response(liveness.body())


class ReadyView(_Open):
    """Whether requests can be served."""

    @extend_schema(
        operation_id="getReady",
        summary="Can it serve?",
        tags=["health"],
        responses={200: schema.READY, 503: schema.READY},
        examples=[
            OpenApiExample("Ready", value=schema.IS_READY, status_codes=["200"]),
            OpenApiExample("Not ready", value=schema.IS_NOT_READY, status_codes=["503"]),
        ],
    )
    def get(self, request: Request) -> Response:
        """200, or 503 if a check that READY_REQUIRES names fails. Each check says what is wrong and since
        when. A check is left out if it does not apply, or cannot be made while the database is down."""
        readiness = checker.readiness()
        return Response(readiness.body(), 200 if readiness.ready else 503)


_FORMAT: Final = OpenApiParameter(
    "format", OpenApiTypes.STR, enum=["json", "prometheus"], description="Else the Accept header decides."
)


class MetricsView(_Open):
    """Figures of the service."""

    @extend_schema(
        operation_id="getMetrics",
        summary="Figures",
        tags=["health"],
        parameters=[_FORMAT],
        responses={
            (200, "application/json"): schema.METRICS,
            (200, "text/plain"): OpenApiResponse(OpenApiTypes.STR, "Prometheus's text format."),
        },
        examples=[
            OpenApiExample("Figures", value=schema.FIGURES, media_type="application/json", response_only=True)
        ],
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Jobs and answers of the whole service, uptime and memory (bytes) of the process that answers.

        Money is shown only with METRICS_TOKEN as the bearer token.
        """
        form, with_money = form_of(request._request), may_see_money(request._request)
        if form == "json":
            return Response(figures.as_json(with_money=with_money))
        try:
            found = figures.read(with_money=with_money)
        except DatabaseError:
            # A scrape that fails says less than one that says what fails.
            found = figures.without_database()
        text, content_type = expose(found, accepted(request._request))
        return HttpResponse(text, content_type=content_type, headers={"Cache-Control": "no-store"})
