"""The media folder of this database."""

from django.db import models


class MediaFolder(models.Model):
    """The folder of the results, known by the id in its marker file."""

    identity = models.UUIDField()
    accepted_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="media_folder_only_one")]

    def __str__(self) -> str:
        return str(self.identity)
