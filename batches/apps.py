"""The app of batches."""

from django.apps import AppConfig


class BatchesConfig(AppConfig):
    """Receives the signals of jobs that end or are opened again."""

    name = "batches"

    def ready(self) -> None:
        from batches.lifecycle import finish
        from videos.signals import job_ended, job_reopened

        job_ended.connect(finish.when_a_job_has_ended, dispatch_uid="batches")
        job_reopened.connect(finish.when_a_job_is_open_again, dispatch_uid="batches")
