"""The files of the archive: JSON Lines in the media folder, each whole or not there."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from upstreams.clock import database_now
from videos.models import MediaFolder, new_id
from videos.results.media import require_media, require_mounted, sync_folder

FOLDER: Final = "archive"


@contextmanager
def written(kind: str, rows: Iterable[Any]) -> Iterator[Path]:
    """A new file of these rows, one a line, safe against a power cut. If the block raises, it is removed."""
    path = _write(kind, rows)
    try:
        yield path
    except Exception:
        path.unlink(missing_ok=True)
        raise


def _write(kind: str, rows: Iterable[Any]) -> Path:
    """Raises OSError, and then there is no such file."""
    # Whatever room is left: what is removed afterwards makes more.
    if (known := MediaFolder.objects.first()) is None:
        require_media()
    else:
        require_mounted(known)
    folder = Path(settings.MEDIA_ROOT) / FOLDER / f"{database_now():%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{new_id()}.jsonl"
    unfinished = path.with_suffix(".part")
    try:
        # For the operator alone: prompts are in it.
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            for row in rows:
                file.write(f"{json.dumps(row, default=_text, ensure_ascii=False)}\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    for each in (folder, folder.parent, folder.parent.parent):
        sync_folder(each)
    return path


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
