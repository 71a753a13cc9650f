"""OpenRouter (`https://openrouter.ai/api/v1`). Its SDK 1.3.84 takes what is sent; not tried with a key.

It has no list, no DELETE and no echo. A create that was not answered is settled by its callback, if one
could be named, or else by a person.
"""

from types import MappingProxyType
from typing import Final

from upstreams.client.dialects.dialect import Dialect, Route

_FIELDS: Final = MappingProxyType(
    {
        "prompt": "prompt",
        "model": "model",
        "seconds": "duration",
        "size": "size",
        "seed": "seed",
        "audio": "generate_audio",
    }
)
# One field for both: the model decides what it makes of it. Only a few models take it.
_FROM_ANOTHER: Final = Route("/videos", frozenset(_FIELDS), "previous_job_id")

OPENROUTER: Final = Dialect(
    name="openrouter",
    body="json",
    fields=_FIELDS,
    numbers=frozenset({"seconds"}),
    echoes=frozenset(),
    lists=False,
    # The limits of the key, and so only with one.
    probe="/key",
    models="/videos/models",
    proves_absence=False,
    deletes=False,
    cancels=False,
    states_cost=True,
    # Many of its models list no sizes, and take a resolution and a shape.
    as_resolution=("resolution", "aspect_ratio"),
    calls_back="callback_url",
    contents=MappingProxyType({"video": MappingProxyType({"index": "0"})}),
    pictures=MappingProxyType({"input_reference": "first_frame", "last_frame": "last_frame"}),
    frame_images=True,
    routes=MappingProxyType({"edit": _FROM_ANOTHER, "extend": _FROM_ANOTHER}),
)
