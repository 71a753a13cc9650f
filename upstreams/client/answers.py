"""What an answer means: for a create, because a wrong guess costs a render, and for calls that may be
repeated."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from upstreams.client.bodies import Complaint, complaint_of, decoded
from upstreams.client.errors import Busy, Misconfigured, NotFound, OutcomeUnknown, Rejected, Unavailable
from upstreams.client.exchange import Answer
from upstreams.client.redaction import Redactor
from upstreams.client.types import Phase, Unreadable, Video, VideoPage
from upstreams.client.values import storable

_CONFIGURATION = frozenset({401, 402, 403})
# The same request is wanted at another address: it was not carried out. 302 and 303 may follow on a create.
_MOVED = frozenset({301, 307, 308})
# Codes and types by which OpenAI, Azure and LiteLLM say that there is no money left, with 400, 403 or 429.
_NO_MONEY = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "budget_exceeded"}
)
# LiteLLM 1.108.7 without a database answers a key that it does not know with 400 and this type.
_UNKNOWN_KEY = frozenset({"no_db_connection"})
# A 4xx that may come from a proxy after the upstream took the request (460 is AWS's and 499 nginx's for a
# client that went away), or that speaks of another copy of it.
_AMBIGUOUS = frozenset({408, 409, 425, 460, 499})
# No wait is longer than a day, and a larger number may be no valid time.
RETRY_AFTER_MAX_SECONDS = 86_400.0


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
    if (400 <= status < 500 and status not in _AMBIGUOUS) or _cannot(status, complaint):
        raise _rejected(answer, complaint)
    raise OutcomeUnknown(
        _summary(answer, complaint), answered=status >= 300, retry_after=retry_after(answer.headers)
    )


def _cannot(status: int, complaint: Complaint | None) -> bool:
    """Whether a 5xx says that the server has no such function or model, and not that it failed."""
    return status == 501 or (complaint is not None and complaint.code == "model_not_found")


def _rejected(answer: Answer, complaint: Complaint | None) -> Rejected:
    code, param = (complaint.code, complaint.param) if complaint else (None, None)
    return Rejected(_summary(answer, complaint), status=answer.status, code=code, param=param)


def retrieved(answer: Answer, redactor: Redactor, video_id: str | None = None) -> Video:
    """The video that a retrieve of this id was answered with; raises as require_success, and Unreadable."""
    if (failed := _failed_video(answer)) is not None:
        return failed
    require_success(answer, redactor)
    return Video.parse(decoded(answer), video_id)


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


def decoded_success(answer: Answer, redactor: Redactor) -> object:
    """The JSON of a 2xx; raises as require_success, and Unreadable."""
    require_success(answer, redactor)
    return decoded(answer)


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
    """Seconds that the upstream asks to wait: `retry-after-ms`, else `Retry-After` (seconds or a date), or
    that of the server behind LiteLLM, which renames it.

    Never more than RETRY_AFTER_MAX_SECONDS.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return min(milliseconds / 1000, RETRY_AFTER_MAX_SECONDS)
    value = headers.get("Retry-After", headers.get("llm_provider-retry-after"))
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
    out_of_money = complaint is not None and {complaint.code, complaint.kind} & _NO_MONEY
    if out_of_money and answer.status in {400, 429}:
        # Neither waiting nor another request ends this one.
        raise Misconfigured(summary, status=answer.status)
    if answer.status == 400 and complaint is not None and complaint.kind in _UNKNOWN_KEY:
        raise Misconfigured(summary, status=answer.status)
    if answer.status == 402 and _passes_by_itself(answer, complaint):
        raise Busy(summary, retry_after=retry_after(answer.headers))
    if answer.status == 429:
        raise Busy(summary, retry_after=retry_after(answer.headers))
    if answer.status in _CONFIGURATION:
        raise Misconfigured(summary, status=answer.status)
    if answer.status in _MOVED:
        raise Misconfigured(_where_to(answer), status=answer.status)
    if answer.status == 404:
        code, param = (complaint.code, complaint.param) if complaint else (None, None)
        raise NotFound(summary, code=code, param=param)


def _passes_by_itself(answer: Answer, complaint: Complaint | None) -> bool:
    """Whether a 402 ends without anybody paying, because the cost of what runs is held (OpenRouter)."""
    return retry_after(answer.headers) is not None or (
        complaint is not None and complaint.reason == "in_flight_budget_exhausted"
    )


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
