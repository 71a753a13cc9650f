"""How a request says who asks."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import ApiKey, User


class ApiKeyAuthentication(BaseAuthentication):
    """An API key, in `x-api-key` or as `Authorization: Bearer`."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """The key's owner and the key; None without a key; AuthenticationFailed for an unknown one."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        secret = request.headers.get("x-api-key", "").strip() or (
            token.strip() if scheme.lower() == "bearer" else ""
        )
        if not secret:
            return None
        # The digest, not the secret, is what the index compares, so its timing tells nothing of the secret.
        key = ApiKey.objects.select_related("owner").filter(digest=ApiKey.digest_of(secret)).first()
        if key is None or not key.owner.is_active:
            raise AuthenticationFailed("The API key is unknown; check x-api-key or Authorization: Bearer.")
        return key.owner, key

    def authenticate_header(self, request: Request) -> str:
        """The challenge that makes REST framework answer 401 rather than 403."""
        return "Bearer"
