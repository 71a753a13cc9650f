"""What operators see of callers."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from accounts.models import ApiKey, User

admin.site.register(User, UserAdmin)


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Keys by name and prefix; deleting one ends it. A secret is never shown."""

    list_display = ("name", "prefix", "owner", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "prefix", "owner__username")
    readonly_fields = ("owner", "name", "prefix", "created_at")
    exclude = ("digest",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A key made here could not be shown."""
        return False
