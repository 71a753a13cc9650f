"""Pictures that videos begin or end with."""

from typing import Final

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from upstreams.offer.request import PICTURES
from videos.models.group import new_id
from videos.models.job import Job

# What a picture is for.
ROLES: Final = tuple(PICTURES)


class ReferenceImage(models.Model):
    """A picture that was checked, encoded anew and kept. The same picture is kept once for each owner."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    # In hex, of the bytes that were sent to us.
    sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    format = models.CharField(max_length=10)
    # Its name in the media folder.
    file = models.CharField(max_length=255)
    file_size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(db_default=Now())
    # When a caller sent it or named it last. Without a job it is removed a day later.
    used_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "sha256"], name="reference_once")]
        indexes = [models.Index(fields=["used_at"], name="reference_used")]

    def __str__(self) -> str:
        return f"{self.id} {self.width}x{self.height}"


class JobReference(models.Model):
    """A picture of a job. A row of its own, because few jobs have one."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="references")
    image = models.ForeignKey(ReferenceImage, models.PROTECT, related_name="jobs")
    role = models.CharField(max_length=20, choices=[(role, role) for role in ROLES])

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "role"], name="job_reference_once")]

    def __str__(self) -> str:
        return f"{self.image_id} is the {self.role} of {self.job_id}"
