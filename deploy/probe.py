"""A container's health check: exits with 0 if the process is healthy, else with 1 and one line.

    python deploy/probe.py get URL              the address answers with 200
    python deploy/probe.py fresh FILE SECONDS   the file was written within these seconds

It needs only Python, so it costs little and works even if the application does not.
"""

import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

_ANSWER_SECONDS = 3.0


def get(url: str) -> str:
    """What is wrong with the address; empty if nothing is."""
    # Neither a proxy of the environment nor a redirect may stand in for the process.
    opener = urllib.request.OpenerDirector()
    opener.add_handler(urllib.request.HTTPHandler())
    try:
        with opener.open(url, timeout=_ANSWER_SECONDS) as answer:
            return "" if answer.status == 200 else f"{url} answers with {answer.status}"
    except (OSError, ValueError, urllib.error.URLError) as error:
        return f"{url} does not answer: {error}"


def fresh(path: str, seconds: float) -> str:
    """What is wrong with the file; empty if nothing is."""
    try:
        age = time.time() - Path(path).stat().st_mtime
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return "" if age <= seconds else f"{path} was last written {age:.0f} s ago"


def main(arguments: list[str]) -> int:
    """The exit code."""
    match arguments:
        case ["get", url]:
            wrong = get(url)
        case ["fresh", path, seconds]:
            wrong = fresh(path, float(seconds))
        case _:
            wrong = "usage: probe.py get URL | probe.py fresh FILE SECONDS"
    if wrong:
        sys.stderr.write(f"{wrong}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
