"""What may be asked of which model, and what a second of it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

DEFAULT_MODEL = "sora-2"
DEFAULT_SECONDS = "4"
DEFAULT_SIZE = "720x1280"
MAX_PROMPT = 32_000
MAX_NAME = 80
MAX_IMAGE_URL = 20_971_520
MAX_CHARACTERS = 2
MAX_EXTENSIONS = 6
MAX_EXTENDED_SECONDS = 120

_720P = ("720x1280", "1280x720")
_1024P = ("1024x1792", "1792x1024")
_1080P = ("1080x1920", "1920x1080")
_SLUGS = {
    "sora-2": "sora-2",
    "sora-2-pro": "sora-2-pro",
    "sora-2-2025-10-06": "sora-2",
    "sora-2-2025-12-08": "sora-2",
    "sora-2-pro-2025-10-06": "sora-2-pro",
}
# Published dollars per generated second; remixes, edits and extensions were never listed.
_PRICES = {
    **{("sora-2", size): Decimal("0.10") for size in _720P},
    **{("sora-2-pro", size): Decimal("0.30") for size in _720P},
    **{("sora-2-pro", size): Decimal("0.50") for size in _1024P},
    **{("sora-2-pro", size): Decimal("0.70") for size in _1080P},
}

MODELS = tuple(_SLUGS)


@dataclass(frozen=True)
class Catalogue:
    """The allowed values: the guide's wide set, or the OpenAPI file's narrow one (`strict`)."""

    strict: bool = False

    @property
    def seconds(self) -> tuple[str, ...]:
        return ("4", "8", "12") if self.strict else ("4", "8", "12", "16", "20")

    def sizes(self, model: str) -> tuple[str, ...]:
        """The sizes of a known model."""
        if self.strict:
            return _720P + _1024P
        return _720P if _SLUGS[model] == "sora-2" else _720P + _1024P + _1080P


def price(model: str, size: str, seconds: int) -> Decimal | None:
    """Dollars for a plain create of `seconds`, or None if no price was published."""
    per_second = _PRICES.get((_SLUGS.get(model, model), size))
    return None if per_second is None else per_second * seconds


def dimensions(size: str) -> tuple[int, int]:
    """Width and height, in pixels."""
    width, _, height = size.partition("x")
    return int(width), int(height)


def quoted(values: Sequence[str], conjunction: str) -> str:
    """`'4', '8', and '12'`, as upstream lists values in its errors."""
    marked = [f"'{value}'" for value in values]
    if len(marked) < 3:
        return f" {conjunction} ".join(marked)
    return f"{', '.join(marked[:-1])}, {conjunction} {marked[-1]}"
