"""What the files of a job are, and what they are saved as."""

import unicodedata
from pathlib import PurePath
from typing import Final
from urllib.parse import quote
from uuid import UUID

from django.utils.text import slugify

# Of a prompt, in the name of a file, which may have 255 on most disks.
_NAME_BYTES: Final = 60

# Not as the machine's own table says.
KINDS: Final = {
    ".mp4": "video/mp4",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".vtt": "text/vtt; charset=utf-8",
}


def file_name(prompt: str, job: UUID, variant: str, stored: str) -> str:
    """The first words of the prompt and the id. No blank, no dot and no slash of a prompt is in it."""
    suffix = PurePath(stored).suffix
    # A letter may become many.
    words = slugify(prompt[:_NAME_BYTES], allow_unicode=True).encode()[:_NAME_BYTES]
    end = suffix if variant == "video" else f"-{variant}{suffix}"
    return f"{words.decode(errors='ignore').strip('-_') or 'video'}-{job}{end}"


def disposition(name: str) -> str:
    """`Content-Disposition`: with the name in ASCII as well, for programs that do not read `filename*`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lstrip("-")
    exact = "" if plain == name else f"; filename*=utf-8''{quote(name)}"
    return f'inline; filename="{plain}"{exact}'
