"""The address that a request comes from."""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from django.conf import settings
from django.http import HttpRequest

# As some proxies pass on whom they serve: each connection has another port.
_BRACKETED: Final = re.compile(r"\[([^\]]*)\](?::\d*)?")
_WITH_PORT: Final = re.compile(r"([^:]*):\d*")


def address_of(request: HttpRequest) -> str:
    """The caller's address as passed on by TRUSTED_PROXIES proxies; for IPv6, its /64 network."""
    given = str(request.META.get("REMOTE_ADDR", ""))
    hops = str(request.META.get("HTTP_X_FORWARDED_FOR", "")).split(",")
    # Each proxy appends the address that it was asked from, so what a caller made up is further left.
    if 0 < settings.TRUSTED_PROXIES <= len(hops):
        given = _without_port(hops[-settings.TRUSTED_PROXIES].strip()) or given
    try:
        address = ip_address(given)
    except ValueError:
        return given[:100]
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    # One caller commands a whole network of them.
    return str(ip_network((address, 64), strict=False))


def _without_port(given: str) -> str:
    found = _BRACKETED.fullmatch(given) or _WITH_PORT.fullmatch(given)
    return found[1] if found else given
