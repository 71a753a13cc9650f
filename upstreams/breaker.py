"""Rate limit, circuit breaker and back-off of calls to the upstream."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q

from upstreams.changes import Block, log_blocked, log_unblocked
from upstreams.client import errors
from upstreams.clock import in_database
from upstreams.models import Call, Provider
from upstreams.registry import Upstream

logger = logging.getLogger(__name__)

# So much of the next minute may be used at once, because workers claim only once a second.
_AHEAD_SECONDS = 5.0
_LONGEST_BREAK_SECONDS = 300.0
# However long an upstream asks us to wait, it is tried again within the hour.
_MAX_BACKOFF_SECONDS = 3600.0


def creates_allowed(upstream: Upstream, provider: Provider, now: datetime, *, sending: bool) -> int:
    """How many creates may be sent now. `sending`: another one is being sent. Called under the provider's
    lock."""
    if is_tripped(provider) and sending:
        # One at a time shows whether the upstream is healthy again.
        return 0
    allowed = upstream.concurrency
    if provider.failures:
        # No more are under way than open the breaker if they fail as well.
        allowed = max(1, settings.SORA_BREAKER_FAILURES - provider.failures)
    if upstream.requests_per_minute:
        ahead = now + timedelta(seconds=_AHEAD_SECONDS) - max(provider.next_token_at or now, now)
        allowed = min(allowed, max(0, ahead // _apart(upstream) + 1))
    return allowed


def consume_tokens(upstream: Upstream, provider: Provider, now: datetime, count: int) -> None:
    """Counts creates against the requests per minute. Called under the provider's lock.

    The spacing keeps every minute within the limit, including creates that were sent ahead.
    """
    if upstream.requests_per_minute:
        Provider.objects.filter(pk=provider.pk).update(
            next_token_at=max(provider.next_token_at or now, now) + count * _apart(upstream)
        )


def _apart(upstream: Upstream) -> timedelta:
    return timedelta(seconds=(60 + _AHEAD_SECONDS) / upstream.requests_per_minute)


def is_tripped(provider: Provider) -> bool:
    """Whether the circuit breaker is open: creates have failed too often in a row."""
    return provider.failures >= settings.SORA_BREAKER_FAILURES


def with_jitter(retry_after: float) -> float:
    """Seconds to wait if the upstream named this many: a little more, so that workers do not retry
    together."""
    return min(retry_after, _MAX_BACKOFF_SECONDS) * random.uniform(1, 1.1)


def back_off(provider: Provider, wait: float, reason: str) -> None:
    """Sends nothing for so many seconds. A longer back-off stays until its time is over or an operator ends
    it."""
    until = in_database(wait)
    shorter = Q(sending_backoff_until__isnull=True) | Q(sending_backoff_until__lt=until)
    Provider.objects.filter(shorter, pk=provider.pk).update(
        sending_backoff_until=until, sending_backoff_reason=reason
    )


@contextmanager
def respecting_retry_after(upstream: Upstream, call: Call) -> Iterator[None]:
    """Records for how long the upstream asked to wait with calls of this kind, and re-raises the error.

    Other kinds continue: a limit on the list must not cost a file that is about to expire. Creates have their
    own back-off, because their limits differ.
    """
    try:
        yield
    except (errors.Busy, errors.Unavailable) as error:
        if error.retry_after:
            wait = with_jitter(error.retry_after)
            until = in_database(wait)
            field = call.backoff_field
            shorter = Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__lt": until})
            Provider.objects.filter(shorter, name=upstream.name).update(**{field: until})
            logger.warning("No %s call to %s for %.1f s: %s", call, upstream.name, wait, error)
        raise


def record_failure(provider: Provider, reason: str, retry_after: float | None) -> None:
    """Counts a create of unknown outcome; opens the breaker, or keeps it open, after too many in a row.
    `provider` is as it was when the create was claimed.

    Reconciling, sweeps and probes continue. Creates wait at least as long as the upstream asked, if it did.
    """
    if retry_after is not None:
        back_off(provider, with_jitter(retry_after), reason)
    threshold: int = settings.SORA_BREAKER_FAILURES
    row = Provider.objects.filter(pk=provider.pk)
    # Of creates that were sent side by side, no more count than open the breaker.
    if not row.filter(failures__lt=max(provider.failures + 1, threshold)).update(failures=F("failures") + 1):
        return
    failures = row.values_list("failures", flat=True).get()
    beyond = failures - threshold
    if beyond < 0:
        return
    longest = min(5 * 2 ** min(beyond, 10), _LONGEST_BREAK_SECONDS)
    wait = random.uniform(longest / 2, longest)
    back_off(provider, wait, reason)
    if beyond == 0:
        log_blocked(provider.name, Block.TRIPPED, reason)
    logger.error(
        "%d creates in a row have failed; nothing is sent to %s for %.1f s, then one at a time: %s",
        failures,
        provider.name,
        wait,
        reason,
    )


def record_success(provider_id: int) -> None:
    """Closes the breaker, because the upstream has accepted a create."""
    tripped = Provider.objects.filter(pk=provider_id, failures__gte=settings.SORA_BREAKER_FAILURES)
    for name in tripped.values_list("name", flat=True):
        log_unblocked(name, Block.TRIPPED, "a create was accepted")
    Provider.objects.filter(pk=provider_id, failures__gt=0).update(failures=0, sending_backoff_reason="")


def count_refusal(provider: Provider) -> None:
    """Counts creates that were not accepted, as one if they were sent side by side: they were refused for the
    same reason. `provider` is as it was when they were claimed."""
    Provider.objects.filter(pk=provider.pk, failures__lte=provider.failures).update(
        failures=provider.failures + 1
    )


def probe_after(provider: Provider) -> float:
    """Seconds until the next probe of a paused provider: 5 at first, at most 300."""
    return float(min(5 * 2 ** min(provider.failures, 10), 300))
