"""What an API key looks like: `takeone_`, 43 random characters, and a checksum of six.

As GitHub's tokens have it: a prefix that says where the key belongs, an underscore and letters that a double
click selects as a whole, and a CRC-32 in base 62 of the random part, by which a scanner tells a key from
chance, and a typing error is found without a database.
https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
"""

import re
import secrets
import zlib
from typing import Final

from django.core.exceptions import ValidationError

MARK: Final = "takeone_"
# The start of a key, by which people tell theirs apart; the other 39 random characters are secret.
PREFIX_LENGTH: Final = len(MARK) + 4

# The longest time after which a key may be made to expire.
DAYS_MAX: Final = 3_650

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BITS: Final = 256
# 62 ** 43 is the first power above 2 ** 256, and 62 ** 6 the first above 2 ** 32.
_RANDOM_LENGTH: Final = 43
_CHECKSUM_LENGTH: Final = 6
# What secret scanners look for; docs/access.md quotes it.
PATTERN: Final = rf"\b{MARK}[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}\b"

_WHOLE: Final = re.compile(f"{MARK}([0-9A-Za-z]{{{_RANDOM_LENGTH}}})([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})")
# Also a part of a key that is long enough to be none of our other names.
_PART: Final = re.compile(f"({MARK}[0-9A-Za-z]{{4}})[0-9A-Za-z]{{12,}}")
# Without hyphens and underscores, in lower case.
_NAMES: Final = frozenset({"xapikey", "apikey", "key", "token", "accesstoken"})
_NAMED_IN_ADDRESS: Final = re.compile(
    r"([?&](?:x[-_]?)?(?:api|access)?[-_]?(?:key|token)=)[^&\s\"'<>]+", re.I
)


def generate() -> str:
    """A new key, of 256 random bits."""
    random = _base62(secrets.randbits(_RANDOM_BITS), _RANDOM_LENGTH)
    return MARK + random + _checksum(random)


def is_well_formed(secret: str) -> bool:
    """Whether it may be a key at all: whole, and with the checksum that belongs to it."""
    parts = _WHOLE.fullmatch(secret)
    return parts is not None and parts[2] == _checksum(parts[1])


def is_in(text: str) -> bool:
    """Whether the text holds a key, or half of one."""
    return _PART.search(text) is not None


def is_name(parameter: str) -> bool:
    """Whether a parameter of this name is meant to carry a key."""
    return parameter.lower().replace("-", "").replace("_", "") in _NAMES


def hidden(text: str) -> str:
    """The text with each key in it cut down to its prefix, and the values of such parameters left out."""
    return _PART.sub(r"\1…", _NAMED_IN_ADDRESS.sub(r"\1…", text))


def printable(name: str) -> None:
    """Validator of a key's name, which goes into lists, logs and terminals; raises ValidationError."""
    if not name.isprintable():
        raise ValidationError("A name has no line breaks or other control characters.", code="unprintable")


def _checksum(random: str) -> str:
    return _base62(zlib.crc32(random.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
