"""Admin pages of the upstreams."""

from django.contrib import admin

from api.read_only_admin import ReadOnly
from upstreams.models import Provider


@admin.register(Provider)
class ProviderAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Upstreams, and whether they are paused, stopped or backing off."""

    list_display = (
        "name",
        "stopped_at",
        "unrecognized_at",
        "sending_backoff_until",
        "list_backoff_until",
        "retrieve_backoff_until",
        "download_backoff_until",
        "delete_backoff_until",
        "paused_at",
        "pause_reason",
        "failures",
        "proves_absence",
    )
