"""The configured upstream: its name, its dialect and the client that talks to it."""

from dataclasses import dataclass
from functools import cache

from django.conf import settings

from upstreams.calls.contact import ObservedClient
from upstreams.client.client import SoraClient
from upstreams.client.dialects import DIALECTS, Dialect
from upstreams.models import Provider
from upstreams.offer.catalogue import Catalogue, catalogue_of


@dataclass(frozen=True, slots=True)
class Upstream:
    """One provider's name with what is needed to use it."""

    name: str
    client: SoraClient
    dialect: Dialect
    catalogue: Catalogue
    concurrency: int
    # The wall clock of one call, in seconds, and the lease under which it is made.
    deadline: float
    lease: float

    def provider(self) -> Provider:
        """The provider's row; the first call creates it."""
        return Provider.objects.get_or_create(name=self.name)[0]


@cache
def configured() -> Upstream:
    """The upstream of the settings, one per process."""
    dialect = DIALECTS[settings.SORA_DIALECT]
    client = ObservedClient(
        settings.SORA_BASE_URL,
        settings.SORA_API_KEY,
        dialect=dialect,
        timeout=settings.SORA_TIMEOUT,
        retries=settings.SORA_MAX_RETRIES,
        retry_delay=settings.SORA_RETRY_DELAY,
        deadline=settings.SORA_TIMEOUT,
        content_hosts=settings.SORA_CONTENT_HOSTS,
    )
    return Upstream(
        name=settings.SORA_PROVIDER,
        client=client,
        dialect=dialect,
        catalogue=catalogue_of(dialect, settings.SORA_MODEL),
        concurrency=settings.SORA_CONCURRENCY,
        deadline=settings.SORA_TIMEOUT,
        # Twice the call: what is left between the claim and the last check is its own deadline's length.
        lease=2 * settings.SORA_TIMEOUT + 2,
    )
