"""TensorRT-LLM VisualGen (`trtllm-serve`). Read in its source; not tried.

Its list has one page with everything, oldest first, so it proves no absence.
"""

from types import MappingProxyType
from typing import Final

from upstreams.client.dialects.dialect import Dialect
from upstreams.client.dialects.openai import FIELDS

TRTLLM: Final = Dialect(
    name="trtllm",
    body="json",
    fields=MappingProxyType({**FIELDS, "negative_prompt": "negative_prompt", "fps": "fps", "seed": "seed"}),
    numbers=frozenset({"seconds"}),
    echoes=frozenset(),
    lists=True,
    proves_absence=False,
    deletes=True,
    cancels=True,
    contents=MappingProxyType({"video": MappingProxyType({})}),
)
