"""OpenRouter (`https://openrouter.ai/api/v1`; its SDK 1.3.84). Not tried with a key.

It has no list, no DELETE and no echo, so only a person can settle a create that was not answered.
"""

from types import MappingProxyType
from typing import Final

from upstreams.client.dialects.dialect import Dialect

OPENROUTER: Final = Dialect(
    name="openrouter",
    body="json",
    fields=MappingProxyType(
        {"prompt": "prompt", "model": "model", "seconds": "duration", "size": "size", "seed": "seed"}
    ),
    numbers=frozenset({"seconds"}),
    echoes=frozenset(),
    lists=False,
    # The limits of the key, and so only with one.
    probe="/key",
    proves_absence=False,
    deletes=False,
    cancels=False,
    contents=MappingProxyType({"video": MappingProxyType({"index": "0"})}),
)
