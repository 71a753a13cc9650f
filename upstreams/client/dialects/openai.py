"""OpenAI's Videos API, as it was until 2026-09-24, and servers that follow it to the letter."""

from types import MappingProxyType
from typing import Final

from upstreams.client.dialects.dialect import Dialect, Route

FIELDS: Final = MappingProxyType({"prompt": "prompt", "model": "model", "seconds": "seconds", "size": "size"})
# Of servers that take more than OpenAI did.
MORE_FIELDS: Final = MappingProxyType(
    {**FIELDS, "negative_prompt": "negative_prompt", "fps": "fps", "seed": "seed"}
)

# The picture becomes the first frame.
PICTURES: Final = MappingProxyType({"input_reference": "input_reference"})

REMIX: Final = Route("/videos/{source}/remix", frozenset({"prompt"}))
ROUTES: Final = MappingProxyType(
    {
        "remix": REMIX,
        "edit": Route("/videos/edits", frozenset({"prompt"}), "video", as_object=True),
        "extend": Route(
            "/videos/extensions", frozenset({"prompt", "seconds"}), "video", as_object=True, lengthens=True
        ),
    }
)

OPENAI: Final = Dialect(
    name="openai",
    body="json",
    fields=FIELDS,
    echoes=frozenset(FIELDS),
    lists=True,
    proves_absence=True,
    deletes=True,
    cancels=False,
    contents=MappingProxyType(
        {
            "video": MappingProxyType({"variant": "video"}),
            "thumbnail": MappingProxyType({"variant": "thumbnail"}),
        }
    ),
    pictures=PICTURES,
    exact_pictures=True,
    routes=ROUTES,
)
