"""Groups of jobs, such as those of a batch."""

import uuid

import uuid_utils.compat as uuid_utils
from django.conf import settings
from django.db import models
from django.db.models import Q


def new_id() -> uuid.UUID:
    """A UUIDv7, so ids sort by the millisecond of their creation."""
    return uuid_utils.uuid7()


class Group(models.Model):
    """Jobs of one owner: at most `limit` are live at a time, and none is sent while the group is held."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    limit = models.PositiveIntegerField()
    held = models.BooleanField(default=False)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(limit__gte=1), name="group_limit_positive")]

    def __str__(self) -> str:
        return str(self.id)
