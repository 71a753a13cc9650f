"""How often creates are sent: so many a minute, and one at a time to an upstream that keeps failing."""

import logging
import random
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F

from videos.clock import in_database
from videos.models import Provider, Submission
from videos.states import SubmissionState

logger = logging.getLogger(__name__)

# So much of the next minute may be used at once: workers look once a second, not at each turn.
_AHEAD_SECONDS = 5.0
_LONGEST_BREAK_SECONDS = 300.0


def has_turn(provider: Provider, now: datetime) -> bool:
    """Whether a create may be sent now. Called under the provider's lock."""
    if (
        is_open(provider)
        and Submission.objects.filter(provider=provider, state=SubmissionState.SENDING).exists()
    ):
        # One at a time shows whether the upstream is well again.
        return False
    if not settings.SORA_REQUESTS_PER_MINUTE or provider.turn_at is None:
        return True
    return provider.turn_at - timedelta(seconds=_AHEAD_SECONDS) <= now


def take_turn(provider: Provider, now: datetime) -> None:
    """Counts a create against the minute. Called under the provider's lock.

    Turns are so far apart that no minute holds more than the limit, with what was used ahead.
    """
    if settings.SORA_REQUESTS_PER_MINUTE:
        apart = timedelta(seconds=(60 + _AHEAD_SECONDS) / settings.SORA_REQUESTS_PER_MINUTE)
        Provider.objects.filter(pk=provider.pk).update(turn_at=max(provider.turn_at or now, now) + apart)


def is_open(provider: Provider) -> bool:
    """Whether the circuit breaker is open: creates have failed too often in a row."""
    return provider.failures >= settings.SORA_BREAKER_FAILURES


def record_failure(provider: Provider, reason: str) -> None:
    """Counts a create of unknown outcome; opens the breaker, or keeps it open, after too many in a row.

    Reconciling, sweeps and probes go on.
    """
    failures = provider.failures + 1
    Provider.objects.filter(pk=provider.pk).update(failures=F("failures") + 1)
    beyond = failures - settings.SORA_BREAKER_FAILURES
    if beyond < 0:
        return
    longest = min(5 * 2 ** min(beyond, 10), _LONGEST_BREAK_SECONDS)
    wait = random.uniform(longest / 2, longest)
    Provider.objects.filter(pk=provider.pk).update(held_until=in_database(wait), hold_reason=reason)
    logger.error(
        "%d creates in a row have failed; nothing is sent to %s for %.1f s, then one at a time: %s",
        failures,
        provider.name,
        wait,
        reason,
    )


def record_success(provider_id: int) -> None:
    """An upstream that accepts a create is well."""
    Provider.objects.filter(pk=provider_id, failures__gt=0).update(failures=0, hold_reason="")
