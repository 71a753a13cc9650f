"""API keys on the wire."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from accounts.keys.key_format import DAYS_MAX, printable
from accounts.keys.retention import RETAIN_MAX_SECONDS, RETAIN_MIN_SECONDS
from accounts.models import ApiKey
from api.bodies.fields import StrictCharField, StrictChoiceField, StrictIntegerField, StrictSerializer
from api.moments import MomentField

_KEY: Final[dict[str, Any]] = {
    "id": 7,
    "name": "render farm",
    "prefix": "takeone_4fJ0",
    "scope": "write",
    "status": "active",
    "createdAt": "2026-11-21T10:00:00.000Z",
    "expiresAt": "2027-02-19T10:00:00.000Z",
    "retainFor": None,
    "revokedAt": None,
    "lastUsedAt": "2026-11-21T10:04:00.000Z",
}
_MADE: Final = {**_KEY, "lastUsedAt": None, "secret": "takeone_4fJ0… (shown this once)"}
_REVOKED: Final = {**_KEY, "status": "revoked", "revokedAt": "2026-11-21T11:00:00.000Z"}


class NewKey(StrictSerializer):
    """A key to be made. Without `expiresInDays` and `expiresAt` it does not expire."""

    name = StrictCharField(
        max_length=100, validators=[printable], help_text="For people, to tell keys apart."
    )
    scope = StrictChoiceField(
        choices=ApiKey.Scope.values,
        help_text="read: every GET. write: also ask for videos, cancel and retry. admin: also manage keys.",
    )
    expiresInDays = StrictIntegerField(min_value=1, max_value=DAYS_MAX, required=False)
    expiresAt = MomentField(required=False, help_text="ISO 8601, in the future.")
    retainFor = StrictIntegerField(
        min_value=RETAIN_MIN_SECONDS,
        max_value=RETAIN_MAX_SECONDS,
        required=False,
        help_text="Seconds after the completion of a job until its files are removed, if a request of this "
        "key names no time.",
    )

    def validate_expiresAt(self, value: datetime) -> datetime:
        if value <= timezone.now():
            raise serializers.ValidationError("It must be in the future.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "expiresInDays" in attrs and "expiresAt" in attrs:
            raise serializers.ValidationError({"expiresAt": "Give expiresInDays or expiresAt, not both."})
        return attrs

    def expires_at(self) -> datetime | None:
        """When the validated key ends; None for never."""
        given = self.validated_data
        if "expiresInDays" in given:
            return timezone.now() + timedelta(days=given["expiresInDays"])
        ends: datetime | None = given.get("expiresAt")
        return ends


class NewName(StrictSerializer):
    """The fields of a key that can be changed."""

    name = StrictCharField(max_length=100, validators=[printable])


@extend_schema_serializer(component_name="ApiKey")
class KeyView(serializers.ModelSerializer[ApiKey]):
    """A key without its secret, which is not stored."""

    prefix = serializers.CharField(help_text="The key's first characters.")
    scope = serializers.ChoiceField(choices=ApiKey.Scope.choices)
    status = serializers.ChoiceField(choices=ApiKey.Status.choices)
    createdAt = MomentField(source="created_at")
    expiresAt = MomentField(source="expires_at", allow_null=True)
    retainFor = serializers.IntegerField(source="retain_for", allow_null=True, help_text="Seconds.")
    revokedAt = MomentField(source="revoked_at", allow_null=True)
    lastUsedAt = MomentField(source="last_used_at", allow_null=True, help_text="May be a minute behind.")

    class Meta:
        model = ApiKey
        fields = (
            "id",
            "name",
            "prefix",
            "scope",
            "status",
            "createdAt",
            "expiresAt",
            "retainFor",
            "revokedAt",
            "lastUsedAt",
        )
        read_only_fields = fields


@extend_schema_serializer(component_name="MadeApiKey")
class MadeKey(KeyView):
    """A key that was just made, with its secret."""

    secret = serializers.CharField(help_text="The key itself. Shown this once: only its digest is kept.")

    class Meta(KeyView.Meta):
        fields = (*KeyView.Meta.fields, "secret")  # type: ignore[assignment]


class KeyQuery(StrictSerializer):
    """Which keys to list."""

    page = serializers.IntegerField(default=1, min_value=1, max_value=10_000)
    limit = serializers.IntegerField(default=20, min_value=1, max_value=100, help_text="Keys per page.")


class KeyPagination(serializers.Serializer):  # type: ignore[type-arg]
    """The position in a list of keys."""

    page = serializers.IntegerField()
    limit = serializers.IntegerField()
    total = serializers.IntegerField()
    totalPages = serializers.IntegerField()
    hasMore = serializers.BooleanField()


class KeyPage(serializers.Serializer):  # type: ignore[type-arg]
    """One page of keys."""

    data = KeyView(many=True)  # type: ignore[assignment]
    pagination = KeyPagination()


def _answer(data: object, status: str = "200", **more: object) -> list[OpenApiExample]:
    value = {"success": True, "data": data, **more}
    return [OpenApiExample("Answer", value=value, response_only=True, status_codes=[status])]


NEW_EXAMPLES: Final = [
    OpenApiExample(
        "Request",
        value={"name": "render farm", "scope": "write", "expiresInDays": 90},
        request_only=True,
    ),
    *_answer(_MADE, "201"),
]
KEY_EXAMPLES: Final = _answer(_KEY)
NAME_EXAMPLES: Final = [
    OpenApiExample("Request", value={"name": "render farm"}, request_only=True),
    *_answer(_KEY),
]
REVOKED_EXAMPLES: Final = _answer(_REVOKED)
PAGE_EXAMPLES: Final = _answer(
    [_KEY], pagination={"page": 1, "limit": 20, "total": 1, "totalPages": 1, "hasMore": False}
)
