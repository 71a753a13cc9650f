"""Groups of jobs, such as those of a batch."""

import uuid
from functools import partial

import uuid_utils.compat as uuid_utils
from django.conf import settings
from django.db import models, transaction
from django.db.models import Q

from videos.signals import job_ended, job_reopened
from videos.states import JOB_OPEN


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


def notify_group(group_id: uuid.UUID | None, before: str, after: str) -> None:
    """Signals that a job of a group has ended, after the commit, or is open again, in the transaction."""
    if group_id is None:
        return
    if after not in JOB_OPEN:
        # Of two that end in the same instant neither sees the other before its commit.
        transaction.on_commit(partial(job_ended.send_robust, Group, group_id=group_id))
    elif before not in JOB_OPEN:
        job_reopened.send(Group, group_id=group_id)
