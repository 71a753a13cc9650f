"""The app of the servers that render."""

from django.apps import AppConfig


class UpstreamsConfig(AppConfig):
    """Registers the rules between settings."""

    name = "upstreams"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from upstreams import checks  # noqa: F401  (importing it registers them)
