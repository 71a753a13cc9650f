"""Fetches a video's file: follows redirects, checks type and length, with one deadline over all."""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import requests

from upstreams.client.answers import require_success
from upstreams.client.errors import Misconfigured, NotSent, OutcomeUnknown, Unavailable
from upstreams.client.exchange import BearerAuth, Session, Timeouts, read, send
from upstreams.client.files.redirects import ContentHosts, NotAllowed, Route
from upstreams.client.redaction import Redactor
from upstreams.client.transport import Watch
from upstreams.client.values import LABEL_MAX_LENGTH, storable

MAX_REDIRECTS = 5

_ERROR_MAX_BYTES = 1024 * 1024
_CHUNK_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """A file being downloaded. `length` is in bytes, or None if the upstream did not say.

    `chunks` can be read once, inside the `with` that gave it, and raises Unavailable if the file is cut
    short.
    """

    content_type: str
    length: int | None
    chunks: Iterator[bytes]


def open_content(
    session: Session,
    request: requests.Request,
    *,
    seconds: float,
    timeouts: Timeouts,
    redactor: Redactor,
    hosts: ContentHosts,
    stack: contextlib.ExitStack,
) -> Content:
    """Request a file and follow redirects on the upstream and the allowed hosts. The stack closes the
    connection.

    Raises like a read, and Unavailable if the answer is no file.
    """
    with contextlib.ExitStack() as opened:
        # Headers may drip as well: they get the time of a read, the file the rest.
        ends = time.monotonic() + seconds
        watch = opened.enter_context(Watch(min(seconds, timeouts.connect + timeouts.silence)))
        response = _follow(session, request, watch, timeouts, redactor, hosts, opened)
        if watch.expired:
            # Headers cut off by the deadline look like a short list of headers.
            raise Unavailable("no file in time")
        said = storable(response.headers.get("Content-Type", "").partition(";")[0]) or ""
        content_type = said.strip().lower()[:LABEL_MAX_LENGTH]
        if "json" in content_type or "html" in content_type:
            # Gateways send errors with a 200.
            raise Unavailable(f"{content_type} instead of a file")
        watch.prolong(ends - time.monotonic())
        length = _length(response)
        stack.push(opened.pop_all())
        return Content(content_type, length, _chunks(response, watch))


def _follow(
    session: Session,
    request: requests.Request,
    watch: Watch,
    timeouts: Timeouts,
    redactor: Redactor,
    hosts: ContentHosts,
    opened: contextlib.ExitStack,
) -> requests.Response:
    route = Route(request.url, hosts)
    elsewhere = False
    for _ in range(MAX_REDIRECTS + 1):
        try:
            response = send(session, request, watch=watch, timeouts=timeouts, redactor=redactor)
            opened.callback(response.close)
            if not elsewhere:
                route.begins_at(watch.peer)
            if (location := session.location(response)) is None:
                if response.status_code != 200:
                    require_success(read(response, cap=_ERROR_MAX_BYTES, redactor=redactor), redactor)
                    raise Unavailable(f"HTTP {response.status_code} instead of a file")
                return response
        except (NotSent, OutcomeUnknown) as error:
            raise Unavailable(str(error)) from error
        except Misconfigured as error:
            if elsewhere:
                # A signed link that has run out says nothing about our own key.
                raise Unavailable(f"redirected, then: {error}") from error
            raise
        except ValueError as error:
            raise Unavailable("redirected to an invalid URL") from error
        request = _redirected(session, request, location, route, watch)
        elsewhere = True
    raise Unavailable(f"more than {MAX_REDIRECTS} redirects")


def _redirected(
    session: Session, request: requests.Request, location: str, route: Route, watch: Watch
) -> requests.Request:
    try:
        target, watch.permits = route.next(request.url, location)
    except NotAllowed as error:
        raise Unavailable(str(error)) from error
    auth = BearerAuth("") if session.strips_auth(request.url, target) else request.auth
    return requests.Request("GET", target, headers=request.headers, auth=auth)


def _length(response: requests.Response) -> int | None:
    """The file's length; None if it comes compressed although we did not ask for that."""
    length = response.headers.get("Content-Length", "")
    encoded = response.headers.get("Content-Encoding", "identity").lower() != "identity"
    return int(length) if re.fullmatch("[0-9]{1,18}", length) and not encoded else None


def _chunks(response: requests.Response, watch: Watch) -> Iterator[bytes]:
    received = 0
    try:
        # A body that is shorter than its Content-Length raises here. read1, so that what drips arrives as it
        # drips, and the reader can tell.
        while chunk := response.raw.read1(_CHUNK_SIZE, decode_content=True):
            received += len(chunk)
            yield chunk
    except Exception as error:
        # A decoder may raise anything.
        reason = "deadline" if watch.expired else type(error).__name__
        raise Unavailable(f"the file broke off after {received} bytes: {reason}") from error
    # A connection shut down at the deadline looks like the regular end of a body without a length.
    if watch.expired:
        raise Unavailable(f"the file was not complete in time: {received} bytes")
    # Headers that broke off leave neither a length nor a body.
    if not received:
        raise Unavailable("the file is empty")
