"""What an API key looks like: `takeone_`, 43 random characters, and a checksum of six.

The format is that of GitHub's tokens. The prefix says which service the key belongs to. A double click
selects the whole key. A scanner recognises a key by the CRC-32 of its random part, in base 62, and a typing
error is found without a database.
https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
"""

import re
import secrets
import zlib
from typing import Final
from urllib.parse import unquote

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
# What secret scanners look for; docs/keys-and-people.md quotes it.
PATTERN: Final = rf"\b{MARK}[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}\b"

_WHOLE: Final = re.compile(f"{MARK}([0-9A-Za-z]{{{_RANDOM_LENGTH}}})([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})")


def _in_address(characters: str) -> str:
    """A pattern for one of these, as it is or percent-encoded, also twice if a proxy has encoded a %."""
    codes = "|".join(f"{ord(each):x}" for each in characters)
    return f"(?:[{characters}]|%(?:25)*(?:{codes}))"


_ANY: Final = _in_address(_DIGITS)
# Also a part of a key that is long enough to be none of our other names.
_PART: Final = re.compile(f"({''.join(map(_in_address, MARK))}{_ANY}{{4}}){_ANY}{{12,}}", re.I | re.A)
# Without hyphens and underscores, in lower case.
_NAME: Final = re.compile("x?(?:api|access)?(?:key|token)")
_IN_ADDRESS: Final = re.compile(r"(?<=[?&])([^=?&\s\"'<>]+)=[^&\s\"'<>]+")
_ENCODED_AGAIN: Final = re.compile("%(?:25)+")


def generate() -> str:
    """A new key, of 256 random bits."""
    random = _base62(secrets.randbits(_RANDOM_BITS), _RANDOM_LENGTH)
    return MARK + random + _checksum(random)


def is_well_formed(secret: str) -> bool:
    """Whether it can be a key: complete, and with the right checksum."""
    parts = _WHOLE.fullmatch(secret)
    return parts is not None and parts[2] == _checksum(parts[1])


def is_in(text: str) -> bool:
    """Whether the text contains a key, or half of one."""
    return _PART.search(text) is not None


def is_name(parameter: str) -> bool:
    """Whether a parameter of this name is meant to carry a key."""
    return _NAME.fullmatch(parameter.lower().replace("-", "").replace("_", "")) is not None


def hidden(text: str) -> str:
    """The text with each key cut to its prefix and the values of key parameters left out, also if they are
    percent-encoded."""
    return _PART.sub(r"\1…", _IN_ADDRESS.sub(_left_out, text))


def _left_out(found: re.Match[str]) -> str:
    name = unquote(_ENCODED_AGAIN.sub("%", found[1]))
    return f"{found[1]}=…" if is_name(name) else found[0]


def printable(name: str) -> None:
    """Validates a key's name, which is shown in lists, logs and terminals. Raises ValidationError."""
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
