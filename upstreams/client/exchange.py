"""One request, one answer: sends, reads with a cap, logs, and translates every foreign exception."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from structlog.contextvars import get_contextvars
from urllib3.exceptions import HTTPError

from upstreams.client.errors import Misconfigured, NotSent, OutcomeUnknown
from upstreams.client.redaction import Redactor
from upstreams.client.transport import Watch, WatchedAdapter

logger = logging.getLogger("upstreams.client")

FOREIGN_ERRORS = (OSError, HTTPError, HTTPException)  # RequestException is an OSError
_POOL_SIZE = 32
_CHUNK_SIZE = 16 * 1024


class BearerAuth(AuthBase):
    """The key as a bearer token, and the id of the request that the call is for; no header without a key.

    As an auth object, because requests lets .netrc win over a plain Authorization header. The id goes where
    the key goes: no other host learns it.
    """

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._api_key:
            request.headers["Authorization"] = f"Bearer {self._api_key}"
            if request_id := get_contextvars().get("request_id"):
                request.headers["X-Request-Id"] = str(request_id)
        return request


class Session(requests.Session):
    """A requests session that follows nothing and keeps no cookies, so that threads can share it."""

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["User-Agent"] = "take-one"
        # Lengths then count what is sent, and no small body unpacks into a huge one.
        self.headers["Accept-Encoding"] = "identity"
        for scheme in ("http://", "https://"):
            self.mount(scheme, WatchedAdapter(pool_maxsize=_POOL_SIZE))

    def get_redirect_target(self, resp: requests.Response) -> None:
        # Even with allow_redirects=False, requests reads the whole body of what it takes for a redirect.
        return None

    def location(self, response: requests.Response) -> str | None:
        """The target of a redirect, as it was sent; None if the response is no redirect. Raises
        ValueError."""
        return super().get_redirect_target(response)

    def strips_auth(self, old_url: str, new_url: str) -> bool:
        """Whether a redirect leaves the host (or its port, or TLS) that the key is meant for."""
        return bool(self.should_strip_auth(old_url, new_url))  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to get a connection, and of silence between two packets."""

    connect: float
    silence: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. The body is cut if it was too large, broken off or late."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def checked_url(base_url: str) -> str:
    """The URL without a slash at its end. Raises ValueError if it cannot be a base."""
    # No message shows the URL: it may contain a password, and messages are logged.
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("the base URL must be an http or https URL with a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("the base URL must have no user, password, query or fragment")
    return base_url.rstrip("/")


def send(
    session: Session,
    request: requests.Request,
    *,
    watch: Watch,
    timeouts: Timeouts,
    redactor: Redactor,
) -> requests.Response:
    """Send once and return at the response's headers. Read its body under the same watch.

    Raises Misconfigured if no such request can be made, NotSent if it provably did not leave, else
    OutcomeUnknown.
    """
    what = f"{request.method} {urlsplit(request.url).path}"
    try:
        prepared = session.prepare_request(request)
        settings: dict[str, Any] = dict(
            session.merge_environment_settings(prepared.url, {}, True, None, None),
        )
    except (ValueError, requests.RequestException) as error:
        raise Misconfigured(f"{what}: {type(error).__name__}, cannot be sent") from error
    if logger.isEnabledFor(logging.DEBUG):
        # Only the query of our own making: that of a redirect may carry a signature.
        logger.debug(
            "%s params=%s headers=%s body=%s",
            what,
            request.params,
            redactor.headers(prepared.headers),
            redactor.body(_bytes(prepared.body), error=False),
        )
    begun = time.monotonic()
    left = watch.remaining()
    if left <= 0:
        raise NotSent(f"{what}: no time left to send it")
    try:
        with watch.current():
            response = session.send(
                prepared,
                timeout=(min(timeouts.connect, left), min(timeouts.silence, left)),
                allow_redirects=False,
                **settings,
            )
    except Exception as error:
        reason = "deadline" if watch.expired else _name(error)
        if isinstance(error, FOREIGN_ERRORS):
            logger.debug("%s failed after %d ms: %s", what, _ms_since(begun), reason)
        else:
            # A library stumbled over what was sent. Whether the request left is judged as ever.
            logger.warning("%s failed after %d ms: %s", what, _ms_since(begun), reason)
        # Not by the exception's type: a ConnectionError may also come after the request.
        if not watch.proves_unsent:
            raise OutcomeUnknown(f"{what}: {reason}") from error
        if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
            raise Misconfigured(f"{what}: {reason}, cannot be sent") from error
        raise NotSent(f"{what}: {reason} before a connection was made") from error
    logger.debug(
        "%s answered %d after %d ms headers=%s",
        what,
        response.status_code,
        _ms_since(begun),
        redactor.headers(response.headers),
    )
    return response


def read(response: requests.Response, *, cap: int, redactor: Redactor) -> Answer:
    """The response with at most `cap` bytes of its body, or fewer if it broke off."""
    body = bytearray()
    try:
        # read1, because what came before a break must not be lost: an id may be in it.
        while len(body) < cap and (chunk := response.raw.read1(_CHUNK_SIZE, decode_content=True)):
            body += chunk[: cap - len(body)]
    except Exception as error:
        # What the status says still counts; that the body is broken will show where it is parsed. A decoder
        # may raise anything.
        logger.debug("body broke off after %d bytes: %s", len(body), type(error).__name__)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("body=%s", redactor.body(bytes(body), error=response.status_code >= 400))
    return Answer(response.status_code, response.headers, bytes(body))


def _name(error: BaseException) -> str:
    """The innermost name that says what happened: NameResolutionError instead of ConnectionError."""
    inner = error.args[0] if error.args else None
    return type(getattr(inner, "reason", None) or error).__name__


def _bytes(body: object) -> bytes:
    return body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else b""


def _ms_since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
