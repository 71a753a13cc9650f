"""The app of probes and figures."""

from django.apps import AppConfig


class HealthConfig(AppConfig):
    """Counts calls to the upstream and moves of submissions."""

    name = "health"

    def ready(self) -> None:
        from health import rules  # noqa: F401
        from health.metrics import observations
        from upstreams.signals import upstream_called
        from videos.signals import submission_moved

        upstream_called.connect(observations.called, dispatch_uid="health")
        submission_moved.connect(observations.moved, dispatch_uid="health")
