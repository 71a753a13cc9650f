"""How long the files of a video may be asked to be kept after its completion, in seconds."""

from typing import Final

RETAIN_MIN_SECONDS: Final = 60
RETAIN_MAX_SECONDS: Final = 315_360_000
