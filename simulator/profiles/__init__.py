"""The servers that the simulator can answer like, by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from simulator.profiles.azure import AZURE
from simulator.profiles.litellm import LITELLM
from simulator.profiles.openai import OPENAI
from simulator.profiles.openrouter import OPENROUTER
from simulator.profiles.profile import Profile
from simulator.profiles.sglang import SGLANG
from simulator.profiles.trtllm import TRTLLM
from simulator.profiles.vllm_omni import VLLM_OMNI

__all__ = ["PROFILES", "Profile"]

PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {each.name: each for each in (OPENAI, AZURE, VLLM_OMNI, SGLANG, TRTLLM, LITELLM, OPENROUTER)}
)
