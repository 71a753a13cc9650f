"""The file of a result as a path, for programs that know no bucket."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from django.core.files.storage import default_storage

from videos.results.fetch import RENEW_SECONDS, drafts
from videos.stores.media import is_in_bucket, open_at

_CHUNK: Final = 1 << 20


@contextmanager
def on_disk(name: str, renew_lease: Callable[[], None]) -> Iterator[str]:
    """Its path: its own, or that of a copy, which goes with the context. "" has none. Raises OSError."""
    if not name or not is_in_bucket(name):
        yield default_storage.path(name) if name else ""
        return
    drafts().mkdir(parents=True, exist_ok=True)
    number, path = tempfile.mkstemp(prefix="copy-", suffix=Path(name).suffix, dir=drafts())
    try:
        renewed = time.monotonic()
        with os.fdopen(number, "wb") as copy, open_at(name, 0) as source:
            while chunk := source.read(_CHUNK):
                copy.write(chunk)
                if time.monotonic() - renewed > RENEW_SECONDS:
                    renew_lease()
                    renewed = time.monotonic()
        yield path
    finally:
        Path(path).unlink(missing_ok=True)
