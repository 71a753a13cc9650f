"""Where a download may be redirected: only to hosts that the operator allowed, and never to an internal
address.

The upstream's answer decides where the worker connects. Unchecked, it could make the worker read from
addresses that only the worker can reach (server-side request forgery).
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.util import parse_url

_PORTS: Final = {"http": 80, "https": 443}
_PATTERN: Final = re.compile(r"(\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
# Addresses of IPv4 within IPv6: mapped ones, and those of NAT64 (RFC 6052).
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotAllowed(ValueError):
    """The redirect is not allowed. Says why, without the URL, which may be signed."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a URL."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """The origin of a URL. Raises NotAllowed if it has none, or if two parsers read it differently."""
        try:
            parts, other = urlsplit(url), parse_url(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as error:
            raise NotAllowed("redirected to an invalid URL") from error
        if parts.scheme not in _PORTS or not host:
            raise NotAllowed("redirected to what is no http or https URL")
        if (other.host or "").strip("[]").lower().rstrip(".") != host or other.port != port:
            raise NotAllowed("redirected to an ambiguous URL")
        if "@" in parts.netloc:
            raise NotAllowed("redirected to a URL with a user")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme])


class ContentHosts:
    """The hosts, besides the upstream's own, that may have its files.

    Each is `host`, `host:port`, `*.domain` or `*`; without a port it means 443, or 80 for http. Raises
    ValueError for anything else.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._allowed: list[tuple[str, int | None]] = []
        for pattern in patterns:
            match = _PATTERN.fullmatch(pattern.lower())
            if match is None or int(match[2] or 1) not in range(1, 65_536):
                raise ValueError(f"{pattern!r} is neither host, host:port, *.domain nor *")
            self._allowed.append((match[1].strip("[]"), int(match[2]) if match[2] else None))

    def allow(self, origin: Origin) -> bool:
        """Whether files may be fetched from this origin."""
        return any(
            _is_named(origin.host, name) and origin.port == (port or _PORTS[origin.scheme])
            for name, port in self._allowed
        )


def _is_named(host: str, name: str) -> bool:
    if name == "*":
        return True
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


class Route:
    """The redirects of one download. Not shared between downloads."""

    def __init__(self, url: str, hosts: ContentHosts) -> None:
        self._base = self._at = Origin.of(url)
        self._hosts = hosts
        self._base_is_inside = False

    def begins_at(self, peer: str | None) -> None:
        """Notes the address of the upstream itself, to which the first request went; None if a proxy knows
        it.

        Its name is not looked up for this: whoever has the name could answer otherwise now.
        """
        self._base_is_inside = peer is not None and _is_inside(_unwrapped(peer))

    def next(self, url: str, location: str) -> tuple[str, Callable[[str], bool] | None]:
        """The target of a redirect of `url`, and the check for its address; None if any address is allowed.

        Raises NotAllowed.
        """
        try:
            # As requests will send it: what is checked must be what is connected to.
            target = requests.Request("GET", urljoin(url, location)).prepare().url or ""
        except (ValueError, requests.RequestException) as error:
            raise NotAllowed("redirected to an invalid URL") from error
        origin = Origin.of(target)
        if self._at.scheme == "https" and origin.scheme == "http":
            raise NotAllowed("redirected from https to http")
        self._at = origin
        if origin == self._base or self._is_upgraded(origin):
            return target, None
        if not self._hosts.allow(origin):
            raise NotAllowed(
                f"redirected to {origin.host}:{origin.port}, which SORA_CONTENT_HOSTS does not name"
            )
        return target, self._permits

    def _is_upgraded(self, origin: Origin) -> bool:
        return (self._base.scheme, self._base.port, origin.port) == ("http", 80, 443) and (
            origin.host == self._base.host
        )

    def _permits(self, address: str) -> bool:
        ip = _unwrapped(address)
        return is_global(address) or (_is_inside(ip) and self._base_is_inside)


def is_global(address: str) -> bool:
    """Whether an address is one of the public Internet's hosts."""
    ip = _unwrapped(address)
    special = ip.is_multicast or ip.is_reserved or ip.is_link_local or ip.is_loopback or ip.is_unspecified
    if isinstance(ip, ipaddress.IPv6Address):
        # Tunnels lead to an address of IPv4 that is not looked at.
        special = special or ip.is_site_local or ip.sixtofour is not None or ip.teredo is not None
    return ip.is_global and not special


def _is_inside(ip: _Address) -> bool:
    # Not link-local, where clouds keep their credentials.
    return (ip.is_loopback or ip.is_private) and not (
        ip.is_link_local or ip.is_unspecified or ip.is_multicast or (ip.is_reserved and not ip.is_loopback)
    )


def _unwrapped(address: str) -> _Address:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip
