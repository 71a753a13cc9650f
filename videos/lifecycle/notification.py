"""Notifications of the upstream that a render has ended. They only make Take One ask sooner."""

from django.db import transaction
from django.db.models import Q

from upstreams.clock import in_database
from upstreams.models import Provider
from videos.models import Submission
from videos.queue.wake import wake
from videos.states import SubmissionState


def apply_notification(upstream_id: str, *, provider: str) -> bool:
    """Makes due now what a notification about this id may concern. Returns whether there is anything.

    Calls nobody and waits for no row: a locked row is being written now, and its next poll comes. A
    notification never counts as a search and delays none. If nobody owns the id, it may be that of a create
    of unknown outcome, so all of those are searched for now. One that is still being sent is not changed: its
    `due_at` is its lease.
    """
    mine = Submission.objects.filter(provider__in=Provider.objects.filter(name=provider))
    if mine.filter(upstream_id=upstream_id).exists():
        # Once it is missing, the attempts that may prove it lost keep their distance.
        concerned = Q(upstream_id=upstream_id, state=SubmissionState.RENDERING, missing_polls=0)
    else:
        concerned = Q(state=SubmissionState.UNKNOWN)
    later = mine.filter(concerned, due_at__gt=in_database())
    with transaction.atomic():
        free = later.select_for_update(skip_locked=True).values("pk")
        found = Submission.objects.filter(pk__in=free).update(due_at=in_database())
        if found:
            wake("dispatch")
    return bool(found)
