"""The files of the archive: JSON Lines in the media folder, each whole or not there."""

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from upstreams.clock import database_now
from videos.models import new_id
from videos.results.media import require_media

FOLDER: Final = "archive"


def write(kind: str, rows: Iterable[Any]) -> Path:
    """Writes a file of these rows, one a line, safe against a power cut. Returns its path.

    Raises OSError, and then there is no such file.
    """
    require_media()
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
        _sync(each)
    return path


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
