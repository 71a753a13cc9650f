"""TensorRT-LLM VisualGen (`trtllm-serve`). Read in its source; not tried.

Its list has one page with everything, oldest first, so it proves no absence.
"""

from types import MappingProxyType
from typing import Final

from upstreams.client.dialects.dialect import Dialect
from upstreams.client.dialects.openai import MORE_FIELDS

TRTLLM: Final = Dialect(
    name="trtllm",
    body="json",
    fields=MORE_FIELDS,
    numbers=frozenset({"seconds"}),
    echoes=frozenset(),
    lists=True,
    proves_absence=False,
    deletes=True,
    cancels=True,
    contents=MappingProxyType({"video": MappingProxyType({})}),
)
