"""Where results are kept, for how long, and how they are handed over."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.core.exceptions import ImproperlyConfigured

from config import env
from config.settings.service import VAR_DIR

# Where videos are made complete, and where they stay unless RESULT_STORAGE names a bucket.
MEDIA_ROOT = Path(env.text("TAKEONE_MEDIA", str(VAR_DIR / "media")))
# With less room left nothing is fetched until there is more.
MEDIA_MIN_FREE_BYTES = env.integer("MEDIA_MIN_FREE_BYTES", 268_435_456, least=0, most=1 << 50)
# Whether a poster, a sprite sheet and a moving preview are made of each video.
RESULT_PREVIEWS = env.flag("RESULT_PREVIEWS", True)
# Days for which the files of a video are kept after its completion; 0 keeps them.
RESULT_RETENTION_DAYS = env.integer("RESULT_RETENTION_DAYS", 0, least=0, most=36_500)
# Bytes of videos of an account, from which on it cannot ask for more; 0: no limit.
RESULT_BYTES_MAX = env.integer("RESULT_BYTES_MAX", 0, least=0, most=1 << 60)
# Seconds for which a link to a file opens it without a key.
RESULT_URL_TTL = env.integer("RESULT_URL_TTL", 900, least=1, most=604_800)
# If a web server in front sends the files: the header that tells it which.
RESULT_SENDFILE = env.choice("RESULT_SENDFILE", "", ["", "X-Accel-Redirect", "X-Sendfile"])
# Where nginx has the media folder, as an internal location.
RESULT_SENDFILE_LOCATION = env.text("RESULT_SENDFILE_LOCATION", "/takeone-media/")
if not re.fullmatch(r"/([A-Za-z0-9._~-]+/)+", RESULT_SENDFILE_LOCATION):
    raise ImproperlyConfigured(
        "RESULT_SENDFILE_LOCATION must be a path that starts and ends with a slash, such as /takeone-media/, "
        f"not {RESULT_SENDFILE_LOCATION!r}."
    )

# Buckets -----------------------------------------------------------------------------------------------
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9._/-]{0,100}")
_BUCKET_EXAMPLE = "s3://bucket/prefix?endpoint=https://s3.example&region=eu-central-1&addressing=path"


def _bucket(name: str, value: str) -> dict[str, Any] | None:
    """The bucket that a setting names, as django-storages takes it; None if it names the disk."""
    if value in {"", "disk"}:
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix = parts.path.strip("/")
    if (
        parts.scheme != "s3"
        or not _BUCKET_NAME.fullmatch(parts.netloc)
        or not _PREFIX.fullmatch(prefix)
        or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix)
        or parts.fragment
        or not asked.keys() <= {"endpoint", "region", "addressing"}
        or asked.get("addressing", "auto") not in {"auto", "path", "virtual"}
        or not re.fullmatch(r"(https?://[^/?#@\s]+/?)?", asked.get("endpoint", ""))
    ):
        # Not quoted: somebody may have put a secret into it.
        raise ImproperlyConfigured(
            f"{name} must be disk or an address such as {_BUCKET_EXAMPLE}. Only the bucket has to be there. "
            "The secret belongs in AWS_SECRET_ACCESS_KEY or AWS_SECRET_ACCESS_KEY_FILE."
        )
    return {
        "bucket_name": parts.netloc,
        "location": prefix,
        "endpoint_url": asked.get("endpoint", "").rstrip("/") or None,
        "region_name": asked.get("region") or None,
        "addressing_style": asked.get("addressing") or None,
        # Without them boto3 looks for others in its own order, of which the last is the machine's role.
        "access_key": env.text("AWS_ACCESS_KEY_ID") or None,
        "secret_key": env.text("AWS_SECRET_ACCESS_KEY") or None,
        "security_token": env.text("AWS_SESSION_TOKEN") or None,
    }


_NOW = _bucket("RESULT_STORAGE", env.text("RESULT_STORAGE"))
_BEFORE = _bucket("RESULT_STORAGE_BEFORE", env.text("RESULT_STORAGE_BEFORE"))
if _NOW and _BEFORE and _NOW["bucket_name"] == _BEFORE["bucket_name"]:
    raise ImproperlyConfigured("RESULT_STORAGE and RESULT_STORAGE_BEFORE must name different buckets.")
# Of new results; "" keeps them on the disk.
RESULT_BUCKET: str = _NOW["bucket_name"] if _NOW else ""
# All that are read, by name.
RESULT_BUCKETS: dict[str, dict[str, Any]] = {each["bucket_name"]: each for each in (_NOW, _BEFORE) if each}
STORAGES = {
    "default": {"BACKEND": "videos.stores.media.MediaStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
