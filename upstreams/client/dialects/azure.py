"""Azure OpenAI's `/openai/v1/videos`. The model is the name of a deployment.

Read in Microsoft's docs; not tried.
"""

from dataclasses import replace
from typing import Final

from upstreams.client.dialects.openai import OPENAI

AZURE: Final = replace(OPENAI, name="azure")
