"""The REST API of usage: the jobs and dollars of an owner, and what its budgets have left."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.budgets.reservations import remaining
from accounts.keys.authentication import key_of
from accounts.models import User
from api.addresses.parameters import parameters_of
from api.bodies.fields import StrictSerializer
from upstreams.offer import pricing
from videos.api.examples import USAGE
from videos.api.serializers.create import BudgetLeft
from videos.usage.report import GROUPS, MAX_DAYS, usage
from videos.usage.stored import stored_bytes


class UsageQuery(StrictSerializer):
    """Which days of UTC, and how their jobs are grouped."""

    since = serializers.DateField(
        required=False, help_text="The first day; 29 days before the last by default."
    )
    until = serializers.DateField(required=False, help_text="The last day; today by default.")
    by = serializers.CharField(
        default=",".join(GROUPS), help_text=f"One or more of {', '.join(GROUPS)}, separated by commas."
    )

    def validate_by(self, given: str) -> list[str]:
        """Refuses duplicates, and keeps the order of the request."""
        wished = list(dict.fromkeys(word.strip() for word in given.split(",")))
        if unknown := [word for word in wished if word not in GROUPS]:
            raise serializers.ValidationError(
                f"There is no group {', '.join(unknown)!r}; there are {', '.join(GROUPS)}."
            )
        return wished

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        last: date = attrs.setdefault("until", datetime.now(UTC).date())
        first: date = attrs.setdefault("since", max(last, date.min + timedelta(days=29)) - timedelta(days=29))
        if first > last:
            raise serializers.ValidationError({"since": "It is after `until`."})
        if (last - first).days >= MAX_DAYS:
            raise serializers.ValidationError({"since": f"At most {MAX_DAYS} days are counted at a time."})
        return attrs


class UsageKey(serializers.Serializer):  # type: ignore[type-arg]
    """The API key that asked."""

    id = serializers.CharField()
    name = serializers.CharField()
    prefix = serializers.CharField()


class UsageRow(serializers.Serializer):  # type: ignore[type-arg]
    """One group, with the fields by which the jobs are grouped. Dollars are strings."""

    day = serializers.DateField(required=False)
    key = UsageKey(required=False, allow_null=True)
    model = serializers.CharField(required=False)
    status = serializers.CharField(required=False)
    jobs = serializers.IntegerField()
    settled = serializers.CharField(help_text="What counts as paid.")
    reserved = serializers.CharField(help_text="What may still have to be paid.")


class Usage(serializers.Serializer):  # type: ignore[type-arg]
    """The usage of the owner in these days."""

    since = serializers.DateField()
    until = serializers.DateField()
    currency = serializers.CharField()
    rows = UsageRow(many=True)
    budgets = BudgetLeft(many=True)
    storedBytes = serializers.IntegerField(
        help_text="Of the videos that are here now, whenever they were made."
    )
    storedBytesMax = serializers.IntegerField(
        allow_null=True, help_text="From here on nothing more can be asked for; null without a limit."
    )


class UsageView(APIView):
    """Usage of the caller's own account."""

    @extend_schema(
        operation_id="getUsage",
        summary="What the account's jobs came to",
        tags=["usage"],
        parameters=[UsageQuery],
        responses={200: Usage},
        examples=USAGE,
    )
    def get(self, request: Request) -> Response:
        """Jobs and dollars by day, key, model and status, and what the budgets have left."""
        query = UsageQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        owner: User = request.user  # type: ignore[assignment]
        data = {
            "since": asked["since"].isoformat(),
            "until": asked["until"].isoformat(),
            "currency": pricing.CURRENCY,
            "rows": usage(owner, asked["since"], asked["until"], asked["by"]),
            "budgets": remaining(owner, key_of(request)),
            "storedBytes": stored_bytes(owner),
            "storedBytesMax": settings.RESULT_BYTES_MAX or None,
        }
        return Response({"success": True, "data": data})
