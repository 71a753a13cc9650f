"""`python -m bench.work`: how many creates a second one worker process sends, and how many files it keeps.

The worker has 8 threads and the upstream of bench.rig.upstream. The baseline is a plain Celery worker with as
many threads, on the same PostgreSQL and Redis: it has a message for each row, and its task posts it with
requests and saves the row.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bench.rig.clips import clip_in
from bench.rig.database import prepared
from bench.rig.deployment import plain_database
from tests.e2e.processes import Program, eventually, members, run
from tests.servers import own_redis
from tests.services import free_port

THREADS: Final = 8
OWNERS: Final = 16
_CELERY: Final = ("-m", "celery", "--quiet", "-A")
_WITHIN: Final = 120.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class Workshop:
    """A database, Redis and the programs of one measurement."""

    settings: dict[str, str]
    folder: Path
    plain_database: str
    stack: ExitStack

    def start(self, name: str, *arguments: str, **settings: str) -> Program:
        """Starts a program. It ends with the measurement."""
        program = Program(arguments, self.settings | settings, self.folder / f"{name}.log")
        self.stack.callback(program.end)
        return program

    def start_upstream(self, *, clip_bytes: int = 0, **options: str) -> None:
        """Starts the upstream, which the settings name from here on. Its video has so many bytes."""
        port = free_port()
        self.settings["SORA_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
        given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
        clip = clip_in(self.folder, clip_bytes)
        self.start("upstream", "-m", "bench.rig.upstream", "--port", str(port), "--clip", clip, *given)

    def start_worker(self, threads: int = THREADS) -> Program:
        """Our worker, and beat."""
        return self.start_workers(1, threads)[0]

    def start_workers(self, count: int, threads: int) -> list[Program]:
        """So many, and beat."""
        self.start("beat", *_CELERY, "config", "beat", "--schedule", str(self.folder / "beat"))
        pool = ("-P", "threads", "-c", str(threads))
        command = (*_CELERY, "config", "worker", *pool)
        return [
            self.start(f"worker-{number}", *command, "-n", f"worker-{number}", WORK_THREADS=str(threads))
            for number in range(count)
        ]


def main() -> None:
    """Measures, and prints a line for each figure and a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.work")
    parser.add_argument("--jobs", type=int, default=1500)
    parser.add_argument("--only", default="", help="the beginning of the names to measure")
    chosen = parser.parse_args()
    found: dict[str, float] = {}
    # Previews are drawn when nothing else is to do, by processes of their own.
    with prepared(RESULT_PREVIEWS="false") as environment:
        for name, measure in _MEASURES.items():
            if not name.startswith(chosen.only):
                continue
            with workshop_on(environment) as workshop:
                figures = measure(workshop, chosen.jobs)
            found |= {f"{name}_{each}": figure for each, figure in figures.items()}
            print(name, figures, flush=True)
    print(json.dumps(found))


@contextmanager
def workshop_on(environment: dict[str, str]) -> Iterator[Workshop]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takeone-bench-")))
        redis = stack.enter_context(own_redis(free_port()))
        settings = environment | {
            "REDIS_URL": redis.url,
            "TAKEONE_VAR": str(folder),
            "SORA_API_KEY": "a-key",
            "SORA_PROVIDER": "stand-in",
            "SORA_CONCURRENCY": "10000",
            "LOG_LEVEL": "INFO",
        }
        yield Workshop(settings, folder, plain_database(stack, environment["DATABASE_URL"]), stack)


def _submit(create_ms: int) -> Callable[[Workshop, int], dict[str, float]]:
    def measure(workshop: Workshop, count: int) -> dict[str, float]:
        workshop.start_upstream(create_ms=str(create_ms))
        ours = _ours(workshop, count)
        plain = _plain(workshop, count)
        return _beside(ours, plain)

    return measure


def _keep(workshop: Workshop, count: int) -> dict[str, float]:
    """Of renders that have all ended by the time that the worker starts again."""
    workshop.start_upstream(create_ms="0", render_seconds="0")
    from videos.models import Submission
    from videos.states import SubmissionState

    fill(count)
    worker = workshop.start_worker()
    stored = Submission.objects.filter(state=SubmissionState.STORED)
    return _rates(worker, stored.count, count // 10, count)


def _ours(workshop: Workshop, count: int) -> dict[str, float]:
    from videos.models import Submission
    from videos.states import SubmissionState

    fill(count)
    worker = workshop.start_worker()
    accepted = Submission.objects.filter(state=SubmissionState.RENDERING)
    # The beginning and the end are not what is measured: threads wait there.
    return _rates(worker, accepted.count, count // 10, count * 9 // 10)


def _rates(worker: Program, done: Callable[[], int], first: int, last: int) -> dict[str, float]:
    """From the time when `first` were done until `last` were: each second, and milliseconds of processor for
    each."""

    def reached(count: int) -> bool:
        return worker.running() and done() >= count

    eventually(lambda: reached(first), f"{first} of {last}", within=_WITHIN)
    began, spent, had = time.perf_counter(), processor_seconds(worker), done()
    eventually(lambda: reached(last), f"{last} done", within=_WITHIN)
    made = done() - had
    took, used = time.perf_counter() - began, processor_seconds(worker) - spent
    return {"per_second": round(made / took, 1), "processor_ms": round(1000 * used / made, 2)}


def processor_seconds(program: Program) -> float:
    """User and system time of all its processes."""
    spent = 0
    for process in members(program.session):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / _TICKS


def _plain(workshop: Workshop, count: int) -> dict[str, float]:
    settings = {
        "DATABASE_URL": workshop.plain_database,
        "DJANGO_SETTINGS_MODULE": "bench.plain.settings",
        "UPSTREAM_URL": workshop.settings["SORA_BASE_URL"],
    }
    run(["-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"], workshop.settings | settings)
    run(["-m", "bench.plain.tasks", str(count)], workshop.settings | settings)
    worker = workshop.start(
        "plain", *_CELERY, "bench.plain.tasks", "worker", "-P", "threads", "-c", str(THREADS), **settings
    )
    import psycopg

    with psycopg.connect(workshop.plain_database, autocommit=True) as connection:

        def done() -> int:
            row = connection.execute("SELECT count(*) FROM plain_plainvideo WHERE status = 'sent'").fetchone()
            assert row is not None
            return int(row[0])

        return _rates(worker, done, count // 10, count * 9 // 10)


def _beside(ours: dict[str, float], plain: dict[str, float]) -> dict[str, float]:
    return {
        **ours,
        "plain_per_second": plain["per_second"],
        "plain_processor_ms": plain["processor_ms"],
        "ratio": round(ours["per_second"] / plain["per_second"], 3),
    }


def fill(count: int) -> None:
    """Makes waiting jobs of several owners, with what is reserved for them."""
    from django.utils import timezone

    from accounts.models import Reservation, User
    from videos.models import Job, JobEvent, Submission

    for model in (JobEvent, Submission, Job, Reservation):
        model._default_manager.all().delete()
    owners = list(User.objects.all()) or User.objects.bulk_create(
        User(username=f"owner {number}") for number in range(OWNERS)
    )
    now = timezone.now()
    price = Decimal("0.40")
    reserved = Reservation.objects.bulk_create(
        Reservation(owner=owners[number % OWNERS], amount=price, made_on=now.date(), counting="new")
        for number in range(count)
    )

    def job(number: int) -> Any:
        prompt = f"A paper boat crosses puddle {number} at dusk while the rain begins to fall."
        asked_at = now - timedelta(hours=1) + timedelta(milliseconds=number)
        return Job(
            owner=owners[number % OWNERS],
            prompt=prompt,
            model="sora-2",
            upstream="stand-in",
            fitted={"prompt": prompt, "model": "sora-2", "seconds": "4", "size": "1280x720"},
            match_key=f"{number}",
            estimated_cost=price,
            reservation=reserved[number],
            due_at=asked_at,
            created_at=asked_at,
            asked_at=asked_at,
            updated_at=asked_at,
        )

    jobs = Job.objects.bulk_create((job(number) for number in range(count)), batch_size=1000)
    JobEvent.objects.bulk_create(JobEvent.drafts(jobs, "pending", now), batch_size=1000)


_MEASURES: Final = {"submit_5_ms": _submit(5), "submit_200_ms": _submit(200), "keep": _keep}


if __name__ == "__main__":
    main()
