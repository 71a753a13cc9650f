"""The admin pages of accounts, keys and budgets."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.budgets.reservations import left_of
from accounts.models import ApiKey, Budget, User
from accounts.sessions.admin_login import CountedLoginForm

admin.site.login_form = CountedLoginForm
admin.site.register(User, UserAdmin)


class _NewKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form that makes a key."""

    def clean_expires_at(self) -> datetime | None:
        ends: datetime | None = self.cleaned_data["expires_at"]
        if ends is not None and ends <= timezone.now():
            raise forms.ValidationError("It must be in the future.")
        return ends


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Keys by name and prefix. They are revoked, not deleted: jobs refer to them."""

    list_display = (
        "name",
        "prefix",
        "owner",
        "scope",
        "status",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    list_filter = ("scope",)
    list_select_related = ("owner",)
    search_fields = ("name", "prefix", "owner__username")
    actions = ("revoke",)
    form = _NewKeyForm

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        made = ("prefix", "status", "created_at", "last_used_at", "revoked_at") if obj else ()
        return ("owner", "name", "scope", "expires_at", "retain_for", *made)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Only the name of an existing key can be changed, as over REST."""
        return [field for field in self.get_fields(request, obj) if field != "name"] if obj else []

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Makes the key and shows its secret once."""
        if change:
            obj.save(update_fields=["name"])
            return
        secret = obj.take_secret()
        obj.save()
        message = f"The key is {secret} and is not shown again: the database has only its digest."
        self.message_user(request, message, messages.WARNING)

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Ends them with their next request."""
        ended = sum(key.revoke() for key in queryset)
        self.message_user(request, f"{ended} revoked.")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Budget)
class BudgetAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What owners and keys may spend, and what is left of it."""

    list_display = ("owner", "api_key", "period", "limit", "left")
    list_select_related = ("owner", "api_key")
    list_filter = ("period",)
    search_fields = ("owner__username", "api_key__name")
    autocomplete_fields = ("owner", "api_key")

    @admin.display(description="left")
    def left(self, budget: Budget) -> str:
        """Of the present period, in US dollars."""
        return str(left_of(budget)["left"])
