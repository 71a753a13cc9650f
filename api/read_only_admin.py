"""Admin pages of rows that only the service itself may change."""

from typing import Any

from django.http import HttpRequest


class ReadOnly:
    """Rows cannot be added, changed or deleted by hand, because they record money."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
