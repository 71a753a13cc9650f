"""The app of batches."""

from django.apps import AppConfig


class BatchesConfig(AppConfig):
    """Receives the signals of jobs that end or are opened again, and of accounts that are erased."""

    name = "batches"

    def ready(self) -> None:
        from batches.erasure import erase_batches
        from batches.lifecycle import finish
        from videos.signals import account_erased, job_ended, job_reopened

        job_ended.connect(finish.when_a_job_has_ended, dispatch_uid="batches")
        account_erased.connect(erase_batches, dispatch_uid="batches")
        job_reopened.connect(finish.when_a_job_is_open_again, dispatch_uid="batches")
