"""What a caller may do."""

from typing import TYPE_CHECKING

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.models import ApiKey

if TYPE_CHECKING:
    from rest_framework.views import APIView


class InsufficientScope(PermissionDenied):
    """403: the scope of the key is too narrow."""

    def __init__(self, needed: ApiKey.Scope, has: str) -> None:
        super().__init__(
            f"This needs an API key with the scope {needed}; the one that was sent has {has}. Send another.",
            code="insufficient_scope",
        )
        self.extra = {"needed": needed, "scope": has}
        # RFC 6750, 3.1.
        self.auth_header = f'Bearer error="insufficient_scope", scope="{needed}"'


class HasScope(BasePermission):
    """Requires the scope read for calls that change nothing and write for others, or the view's
    `required_scope`.

    A request without a key, such as one of a cookie session, has all scopes over its own account.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """True, or raises InsufficientScope."""
        if not isinstance(request.auth, ApiKey):
            return True
        usual = ApiKey.Scope.READ if request.method in SAFE_METHODS else ApiKey.Scope.WRITE
        needed = getattr(view, "required_scope", usual)
        if not request.auth.allows(needed):
            raise InsufficientScope(needed, request.auth.scope)
        return True
