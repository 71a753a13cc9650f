"""Fetches a picture by an address that a caller named, without reaching anything but the public Internet.

Unchecked, a caller could have the service read what only the service can reach (server-side request forgery).
"""

import ssl
from collections.abc import Callable, Collection, Iterator
from typing import Final

import requests
from django.conf import settings
from rest_framework import status
from rest_framework.exceptions import APIException
from urllib3.exceptions import NameResolutionError

from upstreams.client.errors import Misconfigured, SoraError
from upstreams.client.exchange import Session, Timeouts, send
from upstreams.client.files.redirects import Origin, is_global
from upstreams.client.redaction import Redactor
from upstreams.client.transport import AddressNotAllowed, Watch

# Another port would let a caller try out what else a host runs.
PORTS: Final = frozenset({443})
URL_MAX_LENGTH: Final = 8_192
# http.client itself stops at 100 lines of 64 KB.
HEADERS_MAX_BYTES: Final = 65_536
_CONNECT_SECONDS: Final = 5.0
_CHUNK_BYTES: Final = 65_536


class AddressRefused(APIException):
    """422: the address is not one that is fetched from."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "image_address_refused"


class NotFetched(APIException):
    """422: the address is allowed, and no complete picture came from it. `details.reason` says why."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "image_not_fetched"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.extra = {"reason": reason}


def fetch(
    url: str,
    *,
    permits: Callable[[str], bool] = is_global,
    ports: Collection[int] = PORTS,
    authorities: str | None = None,
) -> bytes:
    """What is at an https address, at most REFERENCE_MAX_BYTES, within REFERENCE_FETCH_SECONDS.

    The host is resolved once. Nothing is sent unless `permits` is true for all its addresses, and the
    connection goes to one of these. Its certificate must be valid for the name, by `authorities` (a file) or
    those that all trust. No redirect is followed; no proxy, cookie or password is used. Only name resolution
    can take longer. The bytes may be anything. Raises AddressRefused or NotFetched.
    """
    target = _checked(url, ports)
    seconds = settings.REFERENCE_FETCH_SECONDS
    with Session() as session, Watch(seconds) as watch:
        # Nothing of the environment: a proxy would resolve the name itself, and .netrc has passwords.
        session.trust_env = False
        session.verify = authorities or True
        watch.permits = permits
        timeouts = Timeouts(connect=min(_CONNECT_SECONDS, seconds), silence=seconds)
        request = requests.Request("GET", target, headers={"Accept": "image/*"})
        try:
            response = send(session, request, watch=watch, timeouts=timeouts, redactor=Redactor(""))
        except SoraError as error:
            raise _meaning(error, watch) from error
        with response:
            _require_file(response, watch)
            return _body(response, watch)


def _checked(url: str, ports: Collection[int]) -> str:
    """The URL as it will be requested. Raises AddressRefused."""
    if len(url) > URL_MAX_LENGTH:
        raise AddressRefused(f"The address is longer than {URL_MAX_LENGTH} characters.")
    # Parsers leave these out, or read them as something else.
    if any(character <= " " or character in "\\\x7f" for character in url):
        raise AddressRefused("The address has a blank, a backslash or a control character in it.")
    try:
        # What is checked must be what is connected to, with its host in ASCII.
        target = requests.Request("GET", url.partition("#")[0]).prepare().url or ""
        origin = Origin.of(target)
    except (ValueError, requests.RequestException) as error:
        raise AddressRefused("It is no address that can be fetched; send a plain https URL.") from error
    if origin.scheme != "https":
        raise AddressRefused("The address must begin with https://.")
    if origin.port not in ports:
        raise AddressRefused("The address must not name another port than 443.")
    labels = origin.host.split(".")
    # An address in numbers, in any notation: the last label of a name is never one. A name without a dot
    # belongs to the local network.
    if len(labels) < 2 or ":" in origin.host or labels[-1][:1].isdigit():
        raise AddressRefused("The address must have the full name of a public host.")
    return target


def _meaning(error: SoraError, watch: Watch) -> APIException:
    """What a failed request means to its caller."""
    causes = list(_causes(error))
    # One answer for both, so that nobody can try out which names the inside has.
    if any(isinstance(cause, AddressNotAllowed | NameResolutionError) for cause in causes):
        return AddressRefused("The host has no public address.")
    if isinstance(error, Misconfigured):
        return AddressRefused("It is no address that can be fetched; send a plain https URL.")
    if watch.remaining() <= 0:
        return _late()
    if any(isinstance(cause, requests.exceptions.SSLError | ssl.SSLError) for cause in causes):
        return NotFetched("tls", "No secure connection was possible; is the host's certificate valid?")
    return NotFetched("unreachable", "The host does not answer properly; try again, or upload the picture.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what led to it, which requests keeps in different places."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        found = waiting.pop()
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [found.__cause__, found.__context__, getattr(found, "reason", None), *found.args]


def _require_file(response: requests.Response, watch: Watch) -> None:
    """Raises NotFetched unless a body follows that may be taken."""
    # Headers that were cut off by the deadline look like a short list of headers.
    if watch.remaining() <= 0:
        raise _late()
    if sum(len(name) + len(value) for name, value in response.raw.headers.iteritems()) > HEADERS_MAX_BYTES:
        raise NotFetched("headers_too_large", f"The answer has over {HEADERS_MAX_BYTES} bytes of headers.")
    if 300 <= response.status_code < 400:
        raise NotFetched("redirected", "The address redirects; send the one that it leads to.")
    if response.status_code != 200:
        raise NotFetched("status", f"The host answered {response.status_code} instead of a picture.")
    length = response.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > settings.REFERENCE_MAX_BYTES:
        raise _too_large()


def _body(response: requests.Response, watch: Watch) -> bytes:
    body = bytearray()
    try:
        # As it was sent: unpacked, a small body may become a huge one.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
            body += chunk
            if len(body) > settings.REFERENCE_MAX_BYTES:
                raise _too_large()
    except NotFetched:
        raise
    except Exception as error:
        if watch.remaining() <= 0:
            raise _late() from error
        message = f"The picture broke off after {len(body)} bytes; try again, or upload it."
        raise NotFetched("incomplete", message) from error
    # A connection that was shut down at the deadline looks like the end of a body without a length.
    if watch.remaining() <= 0:
        raise _late()
    if not body:
        raise NotFetched("incomplete", "The answer is empty.")
    return bytes(body)


def _late() -> NotFetched:
    seconds = settings.REFERENCE_FETCH_SECONDS
    return NotFetched("late", f"The picture did not come within {seconds:g} seconds; upload it instead.")


def _too_large() -> NotFetched:
    return NotFetched("too_large", f"The picture has over {settings.REFERENCE_MAX_BYTES} bytes.")
