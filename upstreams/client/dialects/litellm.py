"""LiteLLM's proxy (1.108.7 to 1.110.2) in front of other servers.

It has no DELETE. Its list wants to know the provider, and asks that with the provider's own key and address
instead of those of the model.
"""

from types import MappingProxyType
from typing import Final

from upstreams.client.dialects.dialect import Dialect
from upstreams.client.dialects.openai import FIELDS, PICTURES, ROUTES

LITELLM: Final = Dialect(
    name="litellm",
    body="json",
    fields=FIELDS,
    echoes=frozenset(),
    lists=False,
    probe="/models",
    proves_absence=False,
    deletes=False,
    cancels=False,
    # It does not pass `variant` on.
    contents=MappingProxyType({"video": MappingProxyType({})}),
    pictures=PICTURES,
    routes=ROUTES,
)
