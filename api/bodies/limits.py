"""How long a body may be. Imports nothing that the web server's first process must not load."""

from typing import Final

from django.conf import settings

# Of a body that is refused, so much is read all the same.
MAX_DRAIN_BYTES: Final = 33_554_432


def body_limit(method: str, path: str, media_type: str) -> int:
    """The largest body of a request to this path, in bytes."""
    # Only what is kept on disk and read line by line: JSON is parsed in memory.
    if method == "POST" and path in settings.UPLOAD_PATHS and media_type in settings.UPLOAD_TYPES:
        return int(settings.BATCH_UPLOAD_MAX_BYTES)
    for prefix, most in settings.OPEN_BODY_MAX_BYTES.items():
        if path.startswith(prefix):
            return int(most)
    return int(settings.REQUEST_BODY_MAX_BYTES)
