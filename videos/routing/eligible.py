"""Which pending jobs an upstream may take now, if there are several upstreams.

A job belongs to the upstream that it was fitted to. Another one takes it only while that one, and every one
preferred before it, takes no creates or has no room. Once a create may have been accepted, its submission is
live, and no upstream takes the job.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet

from upstreams import registry
from upstreams.breaker import creates_allowed
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.registry import Upstream, Upstreams
from videos.models import Exclusion
from videos.queue.occupancy import occupying
from videos.reconciliation.restored.books import unread_since
from videos.states import SubmissionState


def takes_now(upstream: Upstream) -> bool:
    """Whether a create may be sent to it now: it is open, within its rate, and has room."""
    provider = Provider.objects.filter(name=upstream.name).first()
    if provider is None:
        return True
    if not provider.takes_creates():
        return False
    live = occupying().filter(provider=provider)
    sending = live.filter(state=SubmissionState.SENDING).exists()
    if not creates_allowed(upstream, provider, database_now(), sending=sending):
        return False
    return live.count() < upstream.concurrency


def eligible(upstream: Upstream, now: datetime) -> Q:
    """The jobs that it may take at this time, by its own catalogue and what the others can take."""
    upstreams = registry.configured()
    if len(upstreams) == 1:
        # All jobs are its own: what was fitted to another one is fitted anew, or cannot be sent.
        return ~Q(Exists(_exclusions(upstream, now)))
    others = [each for each in upstreams if each.name != upstream.name and takes_now(each)]
    own = Q(upstream__in=["", upstream.name])
    taken_over = Q(model__in=list(upstream.catalogue.models)) & ~_kept_by(others, now)
    for other in _before(upstream, upstreams, others):
        goes_there = Q(model__in=list(other.catalogue.models)) & ~Q(Exists(_exclusions(other, now)))
        taken_over &= ~goes_there
    return (
        (own | taken_over) & ~Q(Exists(_exclusions(upstream, now))) & ~_perhaps_rendered(upstream, upstreams)
    )


def _before(upstream: Upstream, upstreams: Upstreams, others: Iterable[Upstream]) -> list[Upstream]:
    """Those of the others that are preferred."""
    places = {each.name: place for place, each in enumerate(upstreams)}
    return [each for each in others if places[each.name] < places[upstream.name]]


def _perhaps_rendered(upstream: Upstream, upstreams: Upstreams) -> Q:
    """The jobs that another upstream may have rendered although our books do not know it."""
    perhaps = Q(pk__in=[])
    for other in upstreams:
        if other.name != upstream.name and (since := unread_since(other)) is not None:
            perhaps |= Q(model__in=list(other.catalogue.models), created_at__lte=since)
    return perhaps


def _kept_by(others: Iterable[Upstream], now: datetime) -> Q:
    """The jobs that were fitted to one of these, which has not refused them."""
    kept = Q(pk__in=[])
    for other in others:
        kept |= Q(upstream=other.name) & ~Q(Exists(_exclusions(other, now)))
    return kept


def _exclusions(upstream: Upstream, now: datetime) -> QuerySet[Exclusion]:
    holds = Q(until=None) | Q(until__gt=now)
    return Exclusion.objects.filter(holds, job=OuterRef("pk"), provider__name=upstream.name)
