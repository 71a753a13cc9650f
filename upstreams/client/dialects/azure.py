"""Azure OpenAI's `/openai/v1/videos`. The model is the name of a deployment.

Read in Microsoft's docs, which have no edits and no extensions; not tried.
"""

from dataclasses import replace
from types import MappingProxyType
from typing import Final

from upstreams.client.dialects.openai import OPENAI, REMIX

AZURE: Final = replace(OPENAI, name="azure", routes=MappingProxyType({"remix": REMIX}))
