"""How long a body may be. Imports nothing that the web server's first process must not load."""

from typing import Final

from django.conf import settings

# Of a body that is refused, so much is read all the same.
MAX_DRAIN_BYTES: Final = 33_554_432


def body_limit(method: str, path: str, media_type: str) -> int:
    """The largest body of a request to this path, in bytes."""
    # Only what is kept on disk: JSON is parsed in memory.
    for paths, types, setting in settings.UPLOADS if method == "POST" else ():
        if path in paths and media_type in types:
            return int(getattr(settings, setting))
    for prefix, most in settings.OPEN_BODY_MAX_BYTES.items():
        if path.startswith(prefix):
            return int(most)
    return int(settings.REQUEST_BODY_MAX_BYTES)


def larger_body(path: str, media_type: str) -> str:
    """What to do with a body that is too long for its type, in words that follow the limit; or ""."""
    if path.startswith("/api/v1/videos/batch"):
        return "; send more videos as a file to /api/v1/batches"
    for paths, types, setting in settings.UPLOADS:
        if path in paths and media_type not in types:
            return f" of this type, and {getattr(settings, setting)} as {', '.join(sorted(types))}"
    return ""
