"""Lines of an OpenAI Batch file: `{"custom_id", "method", "url", "body"}`, as items."""

from collections.abc import Mapping
from typing import Any, Final

from batches.items import Raw
from upstreams.client.values import canonical_seconds

_KEYS: Final = frozenset({"custom_id", "method", "url", "body"})
_URL: Final = "/v1/videos"
_FIELDS: Final = frozenset({"prompt", "model", "seconds", "size", "input_reference"})


def is_openai_line(fields: Mapping[str, Any]) -> bool:
    """Whether the line is one of such a file: no item of ours has a body."""
    return "body" in fields


def item_of(where: Mapping[str, Any], fields: Mapping[str, Any]) -> Raw:
    """The item that the line asks for: strictly its size and length; without a size, OpenAI's usual one."""
    body = fields["body"]
    if "custom_id" not in fields:
        return Raw(where, problem="A line of an OpenAI Batch file needs a custom_id.")
    if unknown := sorted(fields.keys() - _KEYS):
        return Raw(where, problem=f"A line of an OpenAI Batch file has no {unknown[0][:100]!r}.")
    if (fields.get("method", "POST"), fields.get("url", _URL)) != ("POST", _URL):
        return Raw(where, problem=f"Only POST {_URL} can be asked for; this line names something else.")
    if not isinstance(body, dict):
        return Raw(where, problem="body: A JSON object is required.")
    if unknown := sorted(body.keys() - _FIELDS):
        shown = ", ".join(sorted(_FIELDS))
        return Raw(where, problem=f"body: There is no field {unknown[0][:100]!r}; there are {shown}.")
    item = {name: body[name] for name in ("prompt", "model", "size") if name in body}
    item |= {"ref": fields["custom_id"], "fit": "strict"}
    if "seconds" in body:
        seconds = body["seconds"]
        text = None if isinstance(seconds, bool) else canonical_seconds(seconds)
        item["duration"] = seconds if text is None else float(text)
    if "input_reference" in body:
        reference = body["input_reference"]
        if not isinstance(reference, dict) or reference.keys() != {"file_id"}:
            message = (
                "body.input_reference: Give the file_id of a picture that was uploaded to /api/v1/images."
            )
            return Raw(where, problem=message)
        item["inputReference"] = reference["file_id"]
    return Raw(where, item, has_usual_size=True)
