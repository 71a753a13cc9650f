"""vLLM-Omni (its wheel 0.30.0). It serves one model, and refuses any other name.

Its videos are in the memory of the process: after a restart the list is empty.
"""

from types import MappingProxyType
from typing import Final

from upstreams.client.dialects.dialect import Dialect
from upstreams.client.dialects.openai import FIELDS, MORE_FIELDS, PICTURES

VLLM_OMNI: Final = Dialect(
    name="vllm-omni",
    # JSON is refused with 422.
    body="multipart",
    fields=MORE_FIELDS,
    echoes=frozenset(FIELDS),
    lists=True,
    proves_absence=False,
    deletes=True,
    cancels=True,
    # It ignores `variant`, and has no pictures.
    contents=MappingProxyType({"video": MappingProxyType({})}),
    pictures=PICTURES,
)
