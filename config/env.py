"""Typed readers of environment variables. An unusable value is refused at start-up, by name.

Each variable may also be given as NAME_FILE, the path of a file with the value. So a secret from a container
engine or systemd is in no environment.
"""

import base64
import os
import stat
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_MAX_FILE_BYTES: Final = 65_536


def text(name: str, default: str = "") -> str:
    """The variable, or the content of the file that NAME_FILE names, without surrounding blanks.

    Unset and empty mean the same.
    """
    value = os.environ.get(name, "").strip()
    path = os.environ.get(f"{name}_FILE", "").strip()
    if value and path:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set. Set one of them.")
    return (_content(f"{name}_FILE", path) if path else value) or default


def _content(name: str, path: str) -> str:
    """The content of the file. Raises ImproperlyConfigured, without the content, if there is no
    value in it."""
    try:
        # A pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ImproperlyConfigured(f"{name} must name a file, and {path!r} is none.")
            content = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImproperlyConfigured(f"{name} names {path!r}, which cannot be read: {reason}.") from None
    if len(content) > _MAX_FILE_BYTES:
        raise ImproperlyConfigured(f"{name} names {path!r}, which is larger than {_MAX_FILE_BYTES} bytes.")
    try:
        value = content.decode().strip()
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{name} names {path!r}, which is not text in UTF-8.") from None
    if not value or "\0" in value:
        raise ImproperlyConfigured(f"{name} names {path!r}, which has no value.")
    return value


def number(name: str, default: float, *, least: float, most: float) -> float:
    """A number from `least` to `most`."""
    raw = text(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not {raw!r}.") from None
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name} must be from {least:g} to {most:g}, not {raw}.")
    return value


def integer(name: str, default: int, *, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    value = number(name, default, least=least, most=most)
    if value != int(value):
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value}.")
    return int(value)


def flag(name: str, default: bool = False) -> bool:
    """true, yes, on and 1, or false, no, off and 0, in any case."""
    raw = text(name).lower()
    if not raw:
        return default
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {raw!r}.")


def choice(name: str, default: str, allowed: Sequence[str]) -> str:
    """One of `allowed`."""
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def url(name: str, default: str = "", *, schemes: Sequence[str] = ("http", "https")) -> str:
    """An address with one of `schemes` and a host, in lower case, without a final slash; empty if unset."""
    value = text(name, default).rstrip("/")
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        # A password that is not percent-encoded may look like a port; neither is quoted.
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ImproperlyConfigured(
            f"{name} must start with {' or '.join(schemes)}:// and name a host. A port is a number, and a "
            "password is percent-encoded."
        )
    # Neither has a case, and what asks whether it is https compares letters.
    user, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}{host.lower()}").geturl()


def url_with_password(name: str, password_name: str, *, schemes: Sequence[str]) -> str:
    """As `url`, with the password of another variable added, if that is set. The password is not
    percent-encoded."""
    address = url(name, schemes=schemes)
    password = text(password_name)
    if not password:
        return address
    if not address:
        raise ImproperlyConfigured(f"{password_name} is set and {name} is not.")
    parts = urlsplit(address)
    if parts.password is not None:
        raise ImproperlyConfigured(f"{name} has a password, and {password_name} is set. Set one of them.")
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


def postgresql(name: str, password_name: str) -> dict[str, Any]:
    """The connection that an address of libpq's names, as Django has it: with a host or several, or the
    folder of a socket, and any parameter of libpq's. Empty if unset. An error does not quote the address.
    """
    value, password = text(name), text(password_name)
    if not value:
        if password:
            raise ImproperlyConfigured(f"{password_name} is set and {name} is not.")
        return {}
    # Not above: some processes read settings and need no database.
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    # libpq knows the scheme in lower case alone, and takes a final slash for a part of the name.
    scheme, _, rest = value.partition("://")
    try:
        parts: dict[str, Any] = (
            conninfo_to_dict(f"postgresql://{rest}") if scheme.lower() in {"postgres", "postgresql"} else {}
        )
    except psycopg.Error:
        parts = {}
    host, port = str(parts.pop("host", "")), str(parts.pop("port", ""))
    database = str(parts.pop("dbname", "")).rstrip("/")
    # A password that is not percent-encoded may look like one of these.
    if not database or "@" in host or (not port.replace(",", "").isdigit() and port):
        raise ImproperlyConfigured(
            f"{name} must look like postgresql://user:password@host:5432/name. A port is a number. "
            "A password is percent-encoded, and so is the folder of a socket in the place of the host."
        )
    if password and "password" in parts:
        raise ImproperlyConfigured(f"{name} has a password, and {password_name} is set. Set one of them.")
    return {
        "NAME": database,
        "USER": parts.pop("user", ""),
        "PASSWORD": password or parts.pop("password", ""),
        "HOST": host,
        "PORT": port,
        "OPTIONS": parts,
    }


def words(name: str) -> list[str]:
    """A list separated by commas; empty if unset."""
    return [word.strip() for word in text(name).split(",") if word.strip()]


def signing_secrets(name: str) -> list[str]:
    """Secrets of Standard Webhooks, separated by blanks; empty if unset. An error does not quote them."""
    values = text(name).split()
    for value in values:
        if value.startswith("whsec_"):
            try:
                key = base64.b64decode(value.removeprefix("whsec_"), validate=True)
            except ValueError:
                key = b""
            # With an empty key anybody could sign.
            if not key:
                raise ImproperlyConfigured(f"{name} must have base64 after whsec_.")
    return values


def numbers(name: str, default: Sequence[float], *, most: float) -> list[float]:
    """Increasing positive numbers up to `most`, separated by commas."""
    raw = words(name)
    try:
        values = [float(word) for word in raw]
    except ValueError:
        raise ImproperlyConfigured(
            f"{name} must be numbers separated by commas, not {','.join(raw)!r}."
        ) from None
    # Whatever is no number is in no order.
    if not all(earlier < later <= most for earlier, later in zip([0.0, *values], values, strict=False)):
        raise ImproperlyConfigured(
            f"{name} must be positive, rising and at most {most:g}, not {','.join(raw)!r}."
        )
    return values or list(default)
