"""Where a request comes from."""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from django.conf import settings
from django.http import HttpRequest

# As some proxies pass on whom they serve: each connection has another port.
_BRACKETED: Final = re.compile(r"\[([^\]]*)\](?::\d*)?")
_WITH_PORT: Final = re.compile(r"([^:]*):\d*")


def address_of(request: HttpRequest) -> str:
    """The caller's address, as TRUSTED_PROXIES proxies before us pass it on; for IPv6 its network of /64."""
    given = str(request.META.get("REMOTE_ADDR", ""))
    hops = str(request.META.get("HTTP_X_FORWARDED_FOR", "")).split(",")
    # Each proxy adds who asked it, so what a caller wrote itself stands further left.
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
