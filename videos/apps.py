"""The app of jobs and their submissions."""

from django.apps import AppConfig


class VideosConfig(AppConfig):
    """Jobs, their submissions and their history."""

    name = "videos"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connects the signal of released keys."""
        from accounts.signals import jobs_released
        from videos.queue.holds import release_jobs

        jobs_released.connect(release_jobs, dispatch_uid="videos.release_jobs")
