"""The dialects of `/v1/videos`, by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from upstreams.client.dialects.azure import AZURE
from upstreams.client.dialects.dialect import Dialect
from upstreams.client.dialects.litellm import LITELLM
from upstreams.client.dialects.openai import OPENAI
from upstreams.client.dialects.openrouter import OPENROUTER
from upstreams.client.dialects.sglang import SGLANG
from upstreams.client.dialects.trtllm import TRTLLM
from upstreams.client.dialects.vllm_omni import VLLM_OMNI

__all__ = ["DIALECTS", "OPENAI", "Dialect"]

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType(
    {each.name: each for each in (OPENAI, AZURE, VLLM_OMNI, SGLANG, TRTLLM, LITELLM, OPENROUTER)}
)
