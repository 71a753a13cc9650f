"""The app of jobs and their submissions."""

from django.apps import AppConfig


class VideosConfig(AppConfig):
    """Jobs, their submissions and their history."""

    name = "videos"
    default_auto_field = "django.db.models.BigAutoField"
