"""Lines of an OpenAI Batch file: `{"custom_id", "method", "url", "body"}`, as items."""

from collections.abc import Mapping
from typing import Any, Final

from batches.items import Raw
from upstreams import registry
from upstreams.client.values import canonical_seconds

_KEYS: Final = frozenset({"custom_id", "method", "url", "body"})
_URL: Final = "/v1/videos"


def is_openai_line(fields: Mapping[str, Any]) -> bool:
    """Whether the line is one of such a file: no item of ours has a body."""
    return "body" in fields and "custom_id" in fields


def item_of(where: Mapping[str, Any], fields: Mapping[str, Any]) -> Raw:
    """The item that the line asks for: of just its size and length, or OpenAI's usual ones."""
    if unknown := sorted(fields.keys() - _KEYS):
        return Raw(where, problem=f"A line of an OpenAI Batch file has no {unknown[0][:100]!r}.")
    if (fields.get("method", "POST"), fields.get("url", _URL)) != ("POST", _URL):
        return Raw(where, problem=f"Only POST {_URL} can be asked for; this line names something else.")
    body = fields["body"]
    if not isinstance(body, dict):
        return Raw(where, problem="body: A JSON object is required.")
    # What it does not have is refused by its own name.
    item: dict[str, Any] = {**body, "ref": fields["custom_id"]}
    if "seconds" in item:
        seconds = item.pop("seconds")
        text = None if isinstance(seconds, bool) else canonical_seconds(seconds)
        item["duration"] = seconds if text is None else float(text)
    if "input_reference" in item:
        reference = item.pop("input_reference")
        item["inputReference"] = reference.get("file_id") if isinstance(reference, dict) else reference
    if "size" not in item and (size := registry.configured().usual_size(str(item.get("model") or ""))):
        item["size"] = size
    return Raw(where, item | {"fit": "strict"})
