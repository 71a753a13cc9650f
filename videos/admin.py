"""What operators see. Statuses are read here, and changed only by the journeys."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from videos.models import Job, JobEvent, Provider, Submission


class ReadOnly:
    """Nothing is added, changed or deleted by hand: each row is part of a history of money."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class _Submissions(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = Submission
    fields = ("number", "provider", "state", "upstream_id", "price", "cost_state", "created_at", "ended_at")


class _Events(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = JobEvent
    fields = ("number", "subject", "submission_number", "from_state", "to_state", "detail", "created_at")


@admin.register(Job)
class JobAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Jobs with their attempts and their history."""

    list_display = (
        "id",
        "owner",
        "status",
        "progress",
        "priority",
        "estimated_cost",
        "error_code",
        "created_at",
    )
    list_filter = ("status", "priority", "error_code")
    search_fields = ("id", "prompt", "group__id", "ref", "submissions__upstream_id")
    ordering = ("-id",)
    list_select_related = ("owner",)
    show_full_result_count = False
    inlines = (_Submissions, _Events)
    # Their names only: the files are served to their owners, by the API.
    exclude = ("video", "thumbnail")
    readonly_fields = ("files",)

    @admin.display
    def files(self, job: Job) -> str:
        return ", ".join(str(file.name) for file in (job.video, job.thumbnail) if file)


@admin.register(Submission)
class SubmissionAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Paid attempts."""

    list_display = (
        "id",
        "job",
        "number",
        "provider",
        "state",
        "upstream_id",
        "price",
        "cost_state",
        "due_at",
    )
    list_filter = ("state", "cost_state", "provider")
    search_fields = ("upstream_id", "job__id")
    ordering = ("-id",)
    list_select_related = ("job", "provider")
    show_full_result_count = False


@admin.register(Provider)
class ProviderAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Upstreams, and whether they are held back or paused."""

    list_display = (
        "name",
        "stopped_at",
        "held_until",
        "left_alone_until",
        "paused_at",
        "pause_reason",
        "failures",
        "proves_absence",
    )
