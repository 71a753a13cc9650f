"""File formats of uploads and manifests."""

from collections.abc import Callable
from typing import Any, Final

from batches import manifest

UPLOAD_FORMATS: Final = {
    media_type: {"type": "string", "format": "binary"}
    for media_type in ("text/csv", "application/vnd.ms-excel", "application/x-ndjson", "application/jsonl")
} | {
    "multipart/form-data": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}


MANIFEST_FORMATS: Final[dict[str, tuple[str, Callable[..., Any]]]] = {
    "csv": ("text/csv; charset=utf-8", manifest.csv_lines),
    "jsonl": ("application/x-ndjson", manifest.json_lines),
}
