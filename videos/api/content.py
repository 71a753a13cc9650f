"""The file of a completed job."""

import logging

from django.http import FileResponse
from rest_framework import status
from rest_framework.exceptions import APIException, ValidationError

from videos.models import Job
from videos.reads.rows import JobRow
from videos.results.media import media_problem
from videos.results.refetch import is_missing
from videos.states import JobStatus

logger = logging.getLogger(__name__)


class NotCompleted(APIException):
    """400: there is no result yet, or there will never be one."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "job_not_completed"

    def __init__(self, job: Job | JobRow) -> None:
        super().__init__(f"The job is {job.status}; its result is there once it is completed.")
        self.extra = {"status": job.status}


class FileMissing(APIException):
    """410: the file was kept, and is not there any more, or not as a whole."""

    status_code = status.HTTP_410_GONE
    default_code = "file_missing"
    default_detail = (
        "The file is not in this service's media. POST …/sync has it fetched again, if the upstream still "
        "has it; otherwise ask the operator to restore it."
    )


class MediaUnavailable(APIException):
    """503: the media cannot be read now; nothing is lost."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "media_unavailable"
    default_detail = "This service cannot read its media now; try again later."
    wait = 30


def file_of(job: Job, variant: str) -> FileResponse:
    """A file of a job: "video" or "thumbnail". Raises NotCompleted, FileMissing, ValidationError."""
    if job.status != JobStatus.COMPLETED:
        raise NotCompleted(job)
    kept = job.video if variant == "video" else job.thumbnail
    if not kept:
        raise ValidationError({"variant": f"This job has no {variant}."})
    try:
        file = kept.open("rb")
        if variant == "video" and is_missing(job):
            file.close()
            raise FileNotFoundError(f"{kept.name} has another length than it had")
        return FileResponse(file, filename=str(kept.name).rsplit("/", 1)[-1])
    except OSError as error:
        if not isinstance(error, FileNotFoundError) or media_problem():
            raise MediaUnavailable from error
        logger.error("%s of job %s is not in the media any more.", kept.name, job.pk)
        raise FileMissing from error
