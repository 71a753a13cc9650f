"""The app of jobs and their submissions."""

from django.apps import AppConfig


class VideosConfig(AppConfig):
    """Registers the rules between settings."""

    name = "videos"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from upstreams import checks  # noqa: F401  (importing it registers them)
