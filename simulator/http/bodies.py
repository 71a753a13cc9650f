"""Request bodies as fields: JSON, multipart or urlencoded, with bracketed names nested."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

from simulator.http.errors import ApiError, invalid

Fields = dict[str, Any]


@dataclass(frozen=True)
class Upload:
    """A file part."""

    filename: str
    content_type: str
    data: bytes


@dataclass(frozen=True)
class Body:
    """The fields of a request; `is_json` tells whether types were the sender's own."""

    fields: Fields
    is_json: bool


def parse(raw: bytes, content_type: str) -> Body:
    """Raises ApiError 400 for what cannot be read."""
    header = _header(content_type)
    kind = header.get_content_type() if content_type else "application/json"
    if kind == "application/json":
        return Body(_json(raw), is_json=True)
    if kind == "application/x-www-form-urlencoded":
        pairs = parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True)
        return Body(_nested(iter(pairs)), is_json=False)
    if kind == "multipart/form-data":
        boundary = header.get_param("boundary")
        if not isinstance(boundary, str) or not boundary:
            raise invalid(None, "Could not parse multipart form: there is no boundary.")
        return Body(_nested(_parts(raw, boundary.encode())), is_json=False)
    raise invalid(
        None, f"Unsupported content type: '{kind}'. Use 'application/json' or 'multipart/form-data'."
    )


def _json(raw: bytes) -> Fields:
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        raise _unreadable() from None
    if not isinstance(fields, dict):
        raise _unreadable()
    return fields


def _unreadable() -> ApiError:
    return ApiError(
        400,
        "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload,"
        " but what was sent was not valid JSON.",
    )


def _header(value: str) -> Message:
    message = Message()
    message["Content-Type"] = value
    return message


def _parts(raw: bytes, boundary: bytes) -> Iterator[tuple[str, str | Upload]]:
    pieces = (b"\r\n" + raw).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise invalid(None, "Could not parse multipart form: the body ends early.")
    for piece in pieces[1:-1]:
        head, separator, data = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        part = Message()
        for line in head.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                part[name.strip()] = value.strip()
        name_param = part.get_param("name", header="content-disposition")
        if not separator or not isinstance(name_param, str):
            raise invalid(None, "Could not parse multipart form: a part has no name.")
        filename = part.get_filename()
        if filename is None:
            yield name_param, data.decode("utf-8", "replace")
        else:
            content_type = part.get("content-type", "application/octet-stream")
            yield name_param, Upload(filename, content_type.partition(";")[0].strip().lower(), data)


def _nested(pairs: Iterator[tuple[str, str | Upload]]) -> Fields:
    """`a[b]` becomes {"a": {"b": …}}; each repeat of `a[][b]` is one more {"b": …} of a list."""
    fields: Fields = {}
    for name, value in pairs:
        outer, *inner = name.replace("]", "").split("[")
        if not inner:
            fields[outer] = value
        elif inner[0] == "":
            items = fields.setdefault(outer, [])
            if isinstance(items, list):
                items.append({inner[1]: value} if len(inner) > 1 else value)
        else:
            members = fields.setdefault(outer, {})
            if isinstance(members, dict):
                members[inner[0]] = value
    return fields
