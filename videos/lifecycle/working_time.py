"""Deadlines count the time in which we worked: not a downtime of ours, and not a clock that jumped."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from upstreams.clock import database_now
from upstreams.models import Provider
from videos.models import Submission
from videos.states import LIVE


def record_working() -> None:
    """Records that we work now. Every dispatch calls it before it judges any deadline.

    The time since the last record, if it is too long to have been work, is added to every deadline.
    """
    now = database_now()
    recent = timedelta(seconds=_gap_seconds() / 10)
    for provider in Provider.objects.exclude(worked_at__range=(now - recent, now + recent)):
        _note(provider, now)


def has_worked_until(provider: Provider, now: datetime) -> bool:
    """Whether there is no gap between the last record and now. During a gap no deadline is judged."""
    return not _is_gap(now - provider.worked_at)


def _gap_seconds() -> float:
    """Seconds between two dispatches that count as a gap if exceeded."""
    return max(60.0, 10 * settings.DISPATCH_SECONDS)


def _is_gap(passed: timedelta) -> bool:
    # A clock that is set back is a gap as well.
    return abs(passed) > timedelta(seconds=_gap_seconds())


def _note(provider: Provider, now: datetime) -> None:
    before = provider.worked_at
    passed = now - before
    with transaction.atomic(durable=True):
        if _is_gap(passed):
            _postpone(provider, passed)
        # The provider's row last, because accepting a create locks its submission's row before it.
        if not Provider.objects.filter(pk=provider.pk, worked_at=before).update(worked_at=now):
            # Somebody else has noted the same gap.
            transaction.set_rollback(True)


def _postpone(provider: Provider, passed: timedelta) -> None:
    """Moves every open deadline."""
    waiting = Submission.objects.filter(Q(state__in=LIVE) | Q(due_at__isnull=False), provider=provider)
    pks = list(waiting.select_for_update().order_by("pk").values_list("pk", flat=True))
    Submission.objects.filter(pk__in=pks).update(give_up_at=F("give_up_at") + passed)
