"""What counts against the limits of how much runs at a time."""

from django.conf import settings
from django.db.models import QuerySet

from upstreams.clock import in_database
from videos.models import Submission
from videos.states import LIVE, SubmissionState


def occupying() -> QuerySet[Submission]:
    """The live submissions, without those that stay unknown after the whole reconciling window.

    By then the upstream has rendered such a one, or never had it. A person decides which, and that may take
    days: meanwhile it must not keep others from being sent.
    """
    window: float = settings.SORA_RECONCILE_SECONDS[-1]
    left_to_a_person = {"state": SubmissionState.UNKNOWN, "unknown_at__lte": in_database(-window)}
    return Submission.objects.filter(state__in=LIVE).exclude(**left_to_a_person)
