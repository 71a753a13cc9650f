"""SGLang Diffusion (its wheel 0.5.23).

It shows no prompt, and the size and the length that it made of the request, so a video cannot be matched with
what was asked for. Its videos are in the memory of the process: after a restart the list is empty.
"""

from types import MappingProxyType
from typing import Final

from upstreams.client.dialects.dialect import Dialect
from upstreams.client.dialects.openai import MORE_FIELDS, PICTURES

SGLANG: Final = Dialect(
    name="sglang",
    body="json",
    fields=MORE_FIELDS,
    numbers=frozenset({"seconds"}),
    echoes=frozenset(),
    lists=True,
    proves_absence=False,
    deletes=True,
    # DELETE forgets the video; its render goes on.
    cancels=False,
    # `variant` is the index of an output, and `variant=video` is answered with 404.
    contents=MappingProxyType({"video": MappingProxyType({})}),
    pictures=PICTURES,
)
