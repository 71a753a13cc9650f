"""The app of probes and figures."""

from django.apps import AppConfig


class HealthConfig(AppConfig):
    """Has no models."""

    name = "health"
