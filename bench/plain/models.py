"""The one table."""

import uuid

from django.db import models


class PlainVideo(models.Model):
    """What a caller asked for, and nothing that happens to it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    prompt = models.TextField()
    model = models.CharField(max_length=100, default="sora-2")
    seconds = models.PositiveSmallIntegerField(default=4)
    size = models.CharField(max_length=20, default="1280x720")
    priority = models.PositiveSmallIntegerField(default=1)
    status = models.CharField(max_length=10, default="pending")
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "plain"

    def __str__(self) -> str:
        return str(self.id)
