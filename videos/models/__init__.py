"""The rows: jobs, their paid attempts, their history."""

from videos.models.event import JobEvent
from videos.models.exclusion import Exclusion
from videos.models.group import Group, new_id
from videos.models.heartbeat import Heartbeat
from videos.models.job import Job
from videos.models.locks import locked
from videos.models.reference import JobReference, ReferenceImage
from videos.models.result import MediaFolder, Preview
from videos.models.rotation import OwnerRotation
from videos.models.submission import Submission
from videos.usage.stored import StoredBytes
from videos.usage.sums import UsageCount

__all__ = [
    "Exclusion",
    "Group",
    "Heartbeat",
    "Job",
    "JobEvent",
    "JobReference",
    "MediaFolder",
    "OwnerRotation",
    "Preview",
    "ReferenceImage",
    "StoredBytes",
    "Submission",
    "UsageCount",
    "locked",
    "new_id",
]
