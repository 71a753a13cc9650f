"""What an answer means: for a create, because a wrong guess costs a render, and for calls that may be
repeated."""

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from upstreams.client.errors import Busy, Misconfigured, NotFound, OutcomeUnknown, Rejected, Unavailable
from upstreams.client.exchange import Answer
from upstreams.client.redaction import Redactor
from upstreams.client.types import Phase, Unreadable, Video, VideoPage, storable

_CONFIGURATION = frozenset({401, 402, 403})
# The same request is wanted at another address: it was not carried out. 302 and 303 may follow on a create.
_MOVED = frozenset({301, 307, 308})
_NO_QUOTA = "insufficient_quota"
# A 4xx that may come from a proxy after the upstream took the request (460 is AWS's and 499 nginx's for a
# client that went away), or that speaks of another copy of it.
_AMBIGUOUS = frozenset({408, 409, 425, 460, 499})
# No wait is longer than a day, and a larger number may be no valid time.
RETRY_AFTER_MAX_SECONDS = 86_400.0
# A Video has three levels, and a page of a hundred some thousand values.
MAX_DEPTH = 32
MAX_VALUES = 50_000
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Complaint:
    """The readable part of an error body."""

    message: str
    code: str | None = None
    param: str | None = None


def created(answer: Answer, redactor: Redactor) -> Video:
    """The video in the answer to a create. Raises Busy, Misconfigured, Rejected or OutcomeUnknown."""
    status = answer.status
    if (failed := _failed_video(answer)) is not None:
        return failed
    if 200 <= status < 300:
        try:
            return Video.parse(decoded(answer))
        except Unreadable as error:
            raise OutcomeUnknown(f"accepted ({status}), but {error}", succeeded=True) from error
    _refuse_common(answer, redactor)
    complaint = complaint_of(answer, redactor)
    # Whatever the body looks like: servers, frameworks and proxies refuse in many forms.
    if 400 <= status < 500 and status not in _AMBIGUOUS:
        raise _rejected(answer, complaint)
    raise OutcomeUnknown(
        _summary(answer, complaint), answered=status >= 300, retry_after=retry_after(answer.headers)
    )


def _rejected(answer: Answer, complaint: Complaint | None) -> Rejected:
    code, param = (complaint.code, complaint.param) if complaint else (None, None)
    return Rejected(_summary(answer, complaint), status=answer.status, code=code, param=param)


def retrieved(answer: Answer, redactor: Redactor) -> Video:
    """The video that a retrieve was answered with; raises as require_success, and Unreadable."""
    if (failed := _failed_video(answer)) is not None:
        return failed
    require_success(answer, redactor)
    return Video.parse(decoded(answer))


def listed(answer: Answer, redactor: Redactor) -> VideoPage:
    """The page that a list was answered with; raises as require_success, and Unreadable."""
    require_success(answer, redactor)
    return replace(VideoPage.parse(decoded(answer)), dated_at=date_of(answer.headers))


def _failed_video(answer: Answer) -> Video | None:
    """The video in the body of an error: vLLM-Omni 0.30.0 answers so for one that has failed."""
    if answer.status < 400:
        return None
    try:
        video = Video.parse(decoded(answer))
    except Unreadable:
        return None
    return video if video.phase is Phase.FAILED else None


def require_success(answer: Answer, redactor: Redactor) -> None:
    """Raises the error of a read's or a delete's answer, unless it is a 2xx."""
    status = answer.status
    if 200 <= status < 300:
        return
    _refuse_common(answer, redactor)
    complaint = complaint_of(answer, redactor)
    if 400 <= status < 500 and status != 408:
        raise _rejected(answer, complaint)
    raise Unavailable(_summary(answer, complaint), retry_after=retry_after(answer.headers))


def decoded(answer: Answer) -> object:
    """The body as JSON. Raises Unreadable."""
    return parsed(answer.body)


def parsed(body: bytes) -> object:
    """JSON of at most MAX_DEPTH levels and MAX_VALUES values, counted before it is built. Raises Unreadable.

    As an object a value takes up to a hundred times its own bytes, so the length of a body does not bound
    memory.
    """
    structure = _STRING.sub(b"", body)
    values = structure.count(b",") + structure.count(b"[") + structure.count(b"{")
    if values > MAX_VALUES:
        raise Unreadable(f"its body of {len(body)} bytes has too many values")
    depth = deepest = 0
    for bracket in re.findall(rb"[\[\]{}]", structure):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise Unreadable(f"its body of {len(body)} bytes is nested too deep")
    try:
        # UTF-8 only, in which no byte of a character looks like a bracket or a quotation mark.
        return json.loads(body.decode("utf-8-sig", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its body of {len(body)} bytes is no JSON") from error


def complaint_of(answer: Answer, redactor: Redactor) -> Complaint | None:
    """The error in a body; None if it has none.

    It reads the forms of OpenAI, of FastAPI, of TensorRT-LLM and older vLLM (the error at the top), and text.
    """
    try:
        payload = decoded(answer)
    except Unreadable:
        return _plain_text(answer, redactor)
    match payload:
        case {"error": {} as error}:
            message, code = error.get("message"), _label(error.get("code"))
            if not isinstance(message, str) or not message:
                message = code or _label(error.get("type"))
            if message is None:
                return None
            return Complaint(redactor.text(message), code, _label(error.get("param")))
        case {"error": str(message)} | {"detail": str(message)} if message:
            return Complaint(redactor.text(message))
        case {"detail": [{"msg": str(message), **rest}, *_]}:
            place = rest.get("loc")
            param = _label(place[-1]) if isinstance(place, list) and place else None
            return Complaint(redactor.text(message), _label(rest.get("type")), param)
        case {"detail": {} as detail} if detail:
            return Complaint(redactor.text(json.dumps(detail)))
        case {"message": str(message), **rest} if message:
            return Complaint(redactor.text(message), _label(rest.get("code")), _label(rest.get("param")))
    return None


def _plain_text(answer: Answer, redactor: Redactor) -> Complaint | None:
    """A short body that is text by its type. A page in HTML is written for people and says little."""
    if answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "text/plain":
        return None
    text = " ".join(answer.body[:4096].decode("utf-8", "replace").split())
    return Complaint(redactor.text(text)) if text else None


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """The server's Date; None if there is none, it is not a possible time, or it is from a cache."""
    if _number(headers.get("Age")):
        return None
    try:
        found = parsedate_to_datetime(headers.get("Date") or "")
    except (ValueError, OverflowError):
        return None
    # Without a zone it is ambiguous.
    return found if found.tzinfo is not None and 2000 <= found.year < 2100 else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the upstream asks to wait: `retry-after-ms`, else `Retry-After` (seconds or a date).

    Never more than RETRY_AFTER_MAX_SECONDS.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return min(milliseconds / 1000, RETRY_AFTER_MAX_SECONDS)
    value = headers.get("Retry-After")
    if (seconds := _number(value)) is not None:
        return min(seconds, RETRY_AFTER_MAX_SECONDS)
    try:
        until = parsedate_to_datetime((value or "")[:100]).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
    return min(max(until - time.time(), 0.0), RETRY_AFTER_MAX_SECONDS)


def _refuse_common(answer: Answer, redactor: Redactor) -> None:
    complaint = complaint_of(answer, redactor)
    summary = _summary(answer, complaint)
    if answer.status == 429 and complaint is not None and complaint.code == _NO_QUOTA:
        # No waiting ends this one.
        raise Misconfigured(summary, status=answer.status)
    if answer.status == 429:
        raise Busy(summary, retry_after=retry_after(answer.headers))
    if answer.status in _CONFIGURATION:
        raise Misconfigured(summary, status=answer.status)
    if answer.status in _MOVED:
        raise Misconfigured(_where_to(answer), status=answer.status)
    if answer.status == 404:
        code, param = (complaint.code, complaint.param) if complaint else (None, None)
        raise NotFound(summary, code=code, param=param)


def _where_to(answer: Answer) -> str:
    """The origin that a redirect leads to. No more of it: an address may have a signature."""
    parts = urlsplit(storable(answer.headers.get("Location", "")[:2000]) or "")
    try:
        origin = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        origin = ""
    to = f" to {origin}" if parts.hostname and origin else ""
    return f"HTTP {answer.status}: the upstream redirects{to}; the base URL must be where it answers itself"


def _summary(answer: Answer, complaint: Complaint | None) -> str:
    return complaint.message if complaint else f"HTTP {answer.status} without a readable error"


def _number(value: str | None) -> float | None:
    try:
        number = float((value or "")[:400])
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _label(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return (storable(value) or "")[:100] or None
