"""One upstream as it is configured."""

from dataclasses import dataclass

from upstreams.client.dialects import Dialect
from upstreams.offer.catalogue import Catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is configured for one upstream.

    `order`: those with a lower one are preferred, and of those with the same one the cheapest.
    `concurrency`: how many submissions may be live there. `requests_per_minute`: creates, 0 for no limit.
    `bills_failed`: whether it charges for renders that fail. `content_hosts`: hosts beside its own that its
    files may come from. `webhook_secrets`: what signs its notifications.
    """

    name: str
    dialect: Dialect
    base_url: str
    api_key: str
    catalogue: Catalogue
    order: int = 1
    concurrency: int = 4
    requests_per_minute: int = 0
    bills_failed: bool = False
    content_hosts: tuple[str, ...] = ()
    webhook_secrets: tuple[str, ...] = ()
