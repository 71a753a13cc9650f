"""Admin pages of batches, read-only."""

from django.contrib import admin

from api.read_only_admin import ReadOnly
from batches.models import Batch, BatchEvent


class _Events(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = BatchEvent
    fields = ("number", "kind", "round", "detail", "created_at")


@admin.register(Batch)
class BatchAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Batches with their history. Their jobs are found by the group."""

    list_display = ("group", "name", "total", "round", "created_at", "cancelled_at", "completed_at", "faults")
    list_filter = ("completed_at",)
    search_fields = ("group__id", "name")
    ordering = ("-group",)
    show_full_result_count = False
    inlines = (_Events,)
