"""The body of an answer: JSON within bounds, and the error in it."""

import json
import re
from dataclasses import dataclass

from upstreams.client.exchange import Answer
from upstreams.client.redaction import Redactor
from upstreams.client.types import Unreadable
from upstreams.client.values import digits, storable

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
    kind: str | None = None
    # OpenRouter's `metadata.reason`.
    reason: str | None = None


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
            message, code, kind = error.get("message"), _label(error.get("code")), _label(error.get("type"))
            if not isinstance(message, str) or not message:
                message = code or kind
            if message is None:
                return None
            metadata = error.get("metadata")
            reason = _label(metadata.get("reason")) if isinstance(metadata, dict) else None
            return Complaint(redactor.text(message), code, _label(error.get("param")), kind, reason)
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


def _label(value: object) -> str | None:
    return (storable(digits(value)) or "")[:100] or None
