"""Erases lines of the archive."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from videos.erasure.blanks import archived_batch, archived_job
from videos.results.media import sync_folder
from videos.retention.files import FOLDER

_Line = dict[str, Any]


def archived(owner: int) -> int:
    """How many lines of the archive are of this owner's jobs."""
    return sum(_is_of(line, owner) for path in _files("jobs") for line in _lines(path))


def erase_archived(owner: int, groups: set[str]) -> int:
    """Erases the lines of this owner; these of its groups are in the database still. Returns how many of its
    jobs there are. Each file is replaced as a whole; raises OSError."""
    groups = set(groups)
    found = 0
    for path in _files("jobs"):
        of_owner = [line for line in _lines(path) if _is_of(line, owner)]
        if of_owner:
            found += len(of_owner)
            groups |= {line["group_id"] for line in of_owner if line["group_id"]}
            _rewrite(path, lambda line: archived_job(line) if _is_of(line, owner) else line)
    # The lines of batches do not say whose they are.
    for path in _files("batches"):
        if any(line["group_id"] in groups for line in _lines(path)):
            _rewrite(path, lambda line: archived_batch(line) if line["group_id"] in groups else line)
    return found


def _is_of(line: _Line, owner: int) -> bool:
    return bool(line["owner_id"] == owner)


def _files(kind: str) -> list[Path]:
    return sorted((Path(settings.MEDIA_ROOT) / FOLDER).glob(f"*/{kind}-*.jsonl"))


def _lines(path: Path) -> Iterator[_Line]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


_NEW: Final = ".erased"


def _rewrite(path: Path, changed: Callable[[_Line], _Line]) -> None:
    new = path.with_suffix(_NEW)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        for line in _lines(path):
            file.write(f"{json.dumps(changed(line), ensure_ascii=False)}\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)
