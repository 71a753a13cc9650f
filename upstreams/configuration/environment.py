"""The one upstream of the settings SORA_*."""

from django.conf import settings

from upstreams.client.dialects import DIALECTS
from upstreams.configuration.entry import Entry
from upstreams.offer import pricing
from upstreams.offer.catalogue import catalogue_of


def entry() -> Entry:
    """The upstream of the settings, which the check `upstream_is_configured` has found to be right."""
    dialect = DIALECTS[settings.SORA_DIALECT]
    return Entry(
        name=settings.SORA_PROVIDER,
        dialect=dialect,
        base_url=settings.SORA_BASE_URL,
        api_key=settings.SORA_API_KEY,
        catalogue=catalogue_of(dialect, settings.SORA_MODEL, pricing.table(settings.SORA_PRICES)),
        concurrency=settings.SORA_CONCURRENCY,
        requests_per_minute=settings.SORA_REQUESTS_PER_MINUTE,
        bills_failed=settings.SORA_BILLS_FAILED,
        content_hosts=tuple(settings.SORA_CONTENT_HOSTS),
        webhook_secrets=tuple(settings.SORA_WEBHOOK_SECRET),
    )
