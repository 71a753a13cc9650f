"""Single values of an answer, each bounded: none can raise, or outgrow a column, further in."""

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

# LiteLLM 1.108.7 wraps an id into one of about 290 characters. In bytes of UTF-8: no index has room for more.
ID_MAX_BYTES = 2000
# Codes and messages are stored and shown: nothing that an upstream sends may outgrow the column or the page.
CODE_MAX_LENGTH = 100
MESSAGE_MAX_LENGTH = 2000
LABEL_MAX_LENGTH = 100
# Five times the longest prompt that we send: what is longer is not ours.
PROMPT_MAX_LENGTH = 10_000
COST_MAX = 100_000
NO_CODE = "upstream_error"
# No clock of a running upstream is outside of this, and a deadline or a skew can be added to what is inside.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_PERCENT = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*%?\s*")
_NUMBER = re.compile(r"([0-9]{1,6})(?:\.([0-9]{1,9}))?")


def usable_id(value: object) -> str | None:
    """The value if it can name a video in a URL and in a column, else None."""
    if not isinstance(value, str) or not 0 < len(value) <= ID_MAX_BYTES:
        return None
    if len(value.encode("utf-8", "surrogatepass")) > ID_MAX_BYTES:
        return None
    # "." and ".." survive percent-quoting and would be resolved away in a path.
    if not value.isprintable() or any(c.isspace() or c in "/\\" for c in value) or value in {".", ".."}:
        return None
    return value


def canonical_seconds(value: object) -> str | None:
    """One spelling for a duration: 8, "8" and 8.0 are "8", "7.50" is "7.5"; None if it is no duration."""
    if not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and abs(value) >= 10**6:
        return None  # before str(), which refuses huge integers
    if isinstance(value, str) and len(value) > LABEL_MAX_LENGTH:
        return None
    if (match := _NUMBER.fullmatch(str(value).strip())) is None:
        return None
    whole, fraction = match[1].lstrip("0") or "0", (match[2] or "").rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def progress_of(value: object) -> int | None:
    """Percent as a number, or as text with or without its sign."""
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        value = float(match[1])
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return None
    return int(value)


def moment(value: object) -> datetime | None:
    """Unix seconds between EARLIEST and LATEST; some servers send 0 or less for never."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compared before it is converted: no integer is too large for that, and NaN is in no range.
    is_possible = EARLIEST.timestamp() <= value < LATEST.timestamp()
    return datetime.fromtimestamp(value, UTC) if is_possible else None


def dollars_of(usage: object) -> Decimal | None:
    """`cost` of a `usage` object, in US dollars: OpenRouter's charge for a render; None if it says none."""
    cost = usage.get("cost") if isinstance(usage, dict) else None
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= COST_MAX:
        return None
    return Decimal(str(cost)).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def storable(value: object) -> str | None:
    """A non-empty string that a database column can store: without NUL and lone surrogates."""
    if not isinstance(value, str) or not value:
        return None
    return value.replace("\x00", "").encode("utf-8", "replace").decode() or None


def stored(value: object, limit: int) -> str:
    """For people to read: cut to the limit, before it is copied."""
    return (storable(value[: limit + 1]) or "")[:limit] if isinstance(value, str) else ""


def echoed(value: object, limit: int) -> str | None:
    """To be compared with what was sent: None if it is longer, because a part of it might be equal."""
    return storable(value) if isinstance(value, str) and len(value) <= limit else None


def digits(value: object) -> object:
    """A whole number of up to 18 digits as text; any other value as it is."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number and abs(value) < 10**18 else value  # type: ignore[arg-type]


def code_of(value: object) -> str:
    return stored(digits(value), CODE_MAX_LENGTH) or NO_CODE
