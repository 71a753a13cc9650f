"""Removes pictures that no job uses, and files that a crash has left."""

import math
import random
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction

from upstreams.clock import in_database
from videos.models import ReferenceImage
from videos.references.keep import FOLDER, UNUSED_SECONDS

# How many rows one sweep looks at.
_ROWS: Final = 500
# How often it is called: in two days it has seen each of the 256 folders.
SWEEP_SECONDS: Final = 600


def sweep_references() -> int:
    """Removes what no job has named for a day. Returns how many. The work of each call is bounded."""
    return _sweep_rows() + _sweep_folder(f"{int(time.time() // SWEEP_SECONDS) % 256:02x}")


def _sweep_rows() -> int:
    removed = 0
    unused = ReferenceImage.objects.filter(used_at__lt=in_database(-UNUSED_SECONDS), jobs=None)
    for image in unused.order_by("used_at")[:_ROWS]:
        # A job may have named it just now; who is about to do so waits, and then does not find it.
        with suppress(IntegrityError), transaction.atomic():
            row = unused.select_for_update(of=("self",)).filter(pk=image.pk).first()
            if row is not None and row.delete()[0]:
                transaction.on_commit(partial(_remove, image.file))
                removed += 1
    return removed


def _sweep_folder(name: str) -> int:
    """Removes the old files without a row of one folder."""
    folder = Path(settings.MEDIA_ROOT) / FOLDER / name
    if not folder.is_dir():
        return 0
    written_before = time.time() - UNUSED_SECONDS
    paths = list(folder.iterdir())
    # Those with a row come first again and again otherwise, and others would never have their turn.
    random.shuffle(paths)
    old = [f"{FOLDER}/{name}/{path.name}" for path in paths if _written(path) < written_before][:_ROWS]
    unknown = set(old) - set(ReferenceImage.objects.filter(file__in=old).values_list("file", flat=True))
    for each in unknown:
        _remove(each)
    return len(unknown)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        # Another sweep was faster.
        return math.inf


def _remove(name: str) -> None:
    with suppress(OSError):
        default_storage.delete(name)
