"""The REST API of a caller's own API keys."""

import math
from typing import Any

from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.keys import serializers as wire
from accounts.models import ApiKey
from accounts.ownership import get_owned, owned_by
from api.addresses.parameters import parameters_of
from api.bodies.fields import StrictSerializer


class KeyViewSet(GenericViewSet[ApiKey]):
    """API keys of the caller. All calls need the scope admin, so no key can make one with a wider scope."""

    required_scope = ApiKey.Scope.ADMIN
    serializer_class = wire.KeyView
    lookup_value_converter = "int"
    pagination_class = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses parameters and bodies that the call would ignore."""
        super().initial(request, *args, **kwargs)
        if self.action != "list":
            StrictSerializer(data=parameters_of(request)).is_valid(raise_exception=True)
        if self.action not in {"create", "partial_update", None}:
            StrictSerializer(data=request.data).is_valid(raise_exception=True)

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return ApiKey.objects.none()
        return owned_by(ApiKey.objects.all(), self.request.user).order_by("-pk")  # type: ignore[arg-type]

    def get_object(self) -> ApiKey:
        return get_owned(ApiKey.objects.all(), self.request.user, self.kwargs["pk"])  # type: ignore[arg-type]

    def _key(self, key: ApiKey) -> Response:
        return Response({"success": True, "data": self.get_serializer(key).data})

    @extend_schema(
        operation_id="createKey",
        summary="Make an API key",
        request=wire.NewKey,
        parameters=[
            OpenApiParameter(
                "Location", str, OpenApiParameter.HEADER, response=[201], description="The key's address."
            )
        ],
        responses={201: wire.MadeKey},
        examples=wire.NEW_EXAMPLES,
    )
    def create(self, request: Request) -> Response:
        """Answers with the secret. It is not stored and cannot be shown again."""
        serializer = wire.NewKey(data=request.data)
        serializer.is_valid(raise_exception=True)
        key, secret = ApiKey.issue(
            request.user,  # type: ignore[arg-type]
            serializer.validated_data["name"],
            scope=ApiKey.Scope(serializer.validated_data["scope"]),
            expires_at=serializer.expires_at(),
            retain_for=serializer.validated_data.get("retainFor"),
        )
        data = {**self.get_serializer(key).data, "secret": secret}
        headers = {
            "Location": request.build_absolute_uri(f"/api/v1/keys/{key.pk}"),
            "Cache-Control": "no-store",
        }
        return Response({"success": True, "data": data}, status.HTTP_201_CREATED, headers=headers)

    @extend_schema(
        operation_id="listKeys",
        summary="List API keys",
        parameters=[wire.KeyQuery],
        responses={200: forced_singular_serializer(wire.KeyPage)},  # type: ignore[no-untyped-call]
        examples=wire.PAGE_EXAMPLES,
    )
    def list(self, request: Request) -> Response:
        """Lists keys, newest first, including expired and revoked ones."""
        query = wire.KeyQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        page, limit = query.validated_data["page"], query.validated_data["limit"]
        mine = self.get_queryset()
        total = mine.count()
        pagination = {
            "page": page,
            "limit": limit,
            "total": total,
            "totalPages": math.ceil(total / limit),
            "hasMore": page * limit < total,
        }
        shown = self.get_serializer(mine[(page - 1) * limit : page * limit], many=True).data
        return Response({"success": True, "data": shown, "pagination": pagination})

    @extend_schema(
        operation_id="getKey",
        summary="Show an API key",
        responses={200: wire.KeyView},
        examples=wire.KEY_EXAMPLES,
    )
    def retrieve(self, request: Request, pk: int) -> Response:
        """Shows a key without its secret."""
        return self._key(self.get_object())

    @extend_schema(
        operation_id="renameKey",
        summary="Rename an API key",
        request=wire.NewName,
        responses={200: wire.KeyView},
        examples=wire.NAME_EXAMPLES,
    )
    def partial_update(self, request: Request, pk: int) -> Response:
        """Changes the name only. For another scope or expiry, make another key."""
        serializer = wire.NewName(data=request.data)
        serializer.is_valid(raise_exception=True)
        key = self.get_object()
        key.name = serializer.validated_data["name"]
        key.save(update_fields=["name"])
        return self._key(key)

    @extend_schema(
        operation_id="revokeKey",
        summary="Revoke an API key",
        responses={200: wire.KeyView},
        examples=wire.REVOKED_EXAMPLES,
    )
    def destroy(self, request: Request, pk: int) -> Response:
        """Revokes the key from the next request on. This cannot be undone, and can be repeated. A key may
        revoke itself."""
        key = self.get_object()
        key.revoke()
        return self._key(key)
