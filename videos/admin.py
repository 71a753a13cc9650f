"""Admin pages of jobs and submissions, read-only."""

from django.contrib import admin

from api.read_only_admin import ReadOnly
from videos.models import Job, JobEvent, Submission


class _Submissions(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = Submission
    fields = ("number", "provider", "state", "upstream_id", "price", "cost_state", "created_at", "ended_at")


class _Events(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = JobEvent
    fields = ("number", "subject", "submission_number", "from_state", "to_state", "detail", "created_at")


@admin.register(Job)
class JobAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Jobs with their submissions and history."""

    list_display = (
        "id",
        "owner",
        "status",
        "progress",
        "priority",
        "estimated_cost",
        "error_code",
        "faults",
        "created_at",
    )
    list_filter = ("status", "priority", "error_code")
    search_fields = ("id", "prompt", "group__id", "ref", "request_id", "submissions__upstream_id")
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
        "faults",
    )
    list_filter = ("state", "cost_state", "provider")
    search_fields = ("upstream_id", "job__id")
    ordering = ("-id",)
    list_select_related = ("job", "provider")
    show_full_result_count = False
