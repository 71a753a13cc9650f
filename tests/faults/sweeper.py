"""`python -m tests.faults.sweeper`: removes files that no job uses, of all jobs and all the time.

The service removes what is an hour old, and looks at some of the jobs at a time. Here only the lock of a job
keeps a file that is in use. Once it is told to end, it prints how many it has removed.
"""

import os
import signal
import time
from typing import Final

_YOUNGEST_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 0.2


def main() -> None:
    """Until SIGTERM."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.db import DatabaseError, connection

    from videos.results.media import is_mounted
    from videos.retention.stored import stored_files, unused
    from videos.retention.sweep import remove_unused

    ends = False

    def end(*_: object) -> None:
        nonlocal ends
        ends = True

    signal.signal(signal.SIGTERM, end)
    removed = 0
    while not ends:
        try:
            if is_mounted():
                before = time.time() - _YOUNGEST_SECONDS
                for file in unused(each for each in stored_files() if each.written_at < before):
                    removed += remove_unused(file)
        except (DatabaseError, OSError):
            # The database is away, or the media: both happen here.
            connection.close()
        time.sleep(_PAUSE_SECONDS)
    print(f"removed {removed}", flush=True)


if __name__ == "__main__":
    main()
