"""`python -m bench.downloads`: what workers have in memory while they fetch 50 files of 200 MB at once.

The baseline is the same workers with 50 small files at once. "Growth" is the peak of the largest beside
that of the baseline. It needs 10 GB on the disk.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests

from bench.rig.database import prepared
from bench.work import Workshop, fill, workshop_on
from tests.e2e.processes import Program, eventually, members

FILES = 50
# A worker fetches with a third of its threads.
WORKERS = 3
THREADS = 54
_MEGABYTE = 1_000_000
_WITHIN = 400.0


def main() -> None:
    """Measures, and prints a line for each figure and a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.downloads")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--bytes", type=int, help="measure with files of so many bytes alone")
    chosen = parser.parse_args()
    if chosen.bytes is not None:
        with prepared(RESULT_PREVIEWS="false") as environment, workshop_on(environment) as workshop:
            print(json.dumps(_fetch(workshop, chosen.bytes)))
        return
    small, large = _measured(0), _measured(chosen.megabytes * _MEGABYTE)
    print("small", small, "large", large, flush=True)
    figures = {
        "downloads_at_a_time": large["at_a_time"],
        "downloads_peak_mb": large["peak_mb"],
        "downloads_peak_growth": round(large["peak_mb"] / small["peak_mb"], 2),
        "downloads_mb_per_second": round(FILES * chosen.megabytes / large["seconds"]),
    }
    print(json.dumps(figures))


def _measured(size: int) -> Any:
    """In a process of its own: its upstream is another one, and so needs another database."""
    command = [sys.executable, "-m", "bench.downloads", "--bytes", str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=2 * _WITHIN, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _fetch(workshop: Workshop, size: int) -> dict[str, Any]:
    """Has all files fetched, each by a thread of its own. None is sent before all are asked for."""
    workshop.start_upstream(clip_bytes=size, create_ms="0", render_seconds="3", together=str(FILES))
    from videos.models import Job, Submission
    from videos.states import JobStatus, SubmissionState

    fill(FILES)
    workers = workshop.start_workers(WORKERS, THREADS)
    eventually(
        lambda: Submission.objects.filter(state=SubmissionState.RENDERING).count() == FILES,
        "all to be sent",
        within=_WITHIN,
    )
    completed = Job.objects.filter(status=JobStatus.COMPLETED)

    began = time.perf_counter()
    eventually(lambda: completed.count() == FILES, "all files to be kept", within=_WITHIN)
    seconds = time.perf_counter() - began
    assert set(completed.values_list("file_size", flat=True)) == {size} or not size
    counts = requests.get(workshop.settings["SORA_BASE_URL"] + "/counts", timeout=10).json()
    return {
        "at_a_time": counts["sent at a time"],
        "peak_mb": max(map(peak_megabytes, workers)),
        "seconds": round(seconds, 1),
    }


def peak_megabytes(program: Program) -> float:
    """The most that each of its processes has had in memory so far, together."""
    total = 0
    for process in members(program.session):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * 1024
    return round(total / _MEGABYTE, 1)


if __name__ == "__main__":
    main()
