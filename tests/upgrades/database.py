"""`python -m tests.upgrades.database RELEASE STEP`: steps of an upgrade, in the database of the settings.

Each is a process of its own, as the commands of docs/upgrading.md between them are.
"""

import argparse
import json
import os
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402
from django.db.models import Q  # noqa: E402
from django.test import Client  # noqa: E402

from accounts.models import ApiKey, User  # noqa: E402
from tests.upgrades import released, rows  # noqa: E402
from tests.videos.scripted import ScriptedClient, scripted  # noqa: E402
from tests.videos.sending import submit_next  # noqa: E402
from upstreams import registry  # noqa: E402
from upstreams.client.types import CreateRequest, Phase  # noqa: E402
from upstreams.clock import database_now, shifted  # noqa: E402
from upstreams.models import Provider  # noqa: E402
from upstreams.registry import Upstreams  # noqa: E402
from videos.lifecycle.following.sweep import sweep  # noqa: E402
from videos.models import Job, Submission  # noqa: E402
from videos.queue.attend import attend  # noqa: E402
from videos.queue.dispatch import all_due_work  # noqa: E402
from videos.results.media import accept_media  # noqa: E402
from videos.states import SubmissionState  # noqa: E402

_ROUNDS: Final = 60


def make(release: str) -> None:
    """The tables of the release, with its rows; prints them."""
    ours = {app for app, _ in released.leaves_of(release)}
    executor = MigrationExecutor(connection)
    others = [leaf for leaf in executor.loader.graph.leaf_nodes() if leaf[0] not in ours]
    executor.migrate([*released.leaves_of(release), *others])
    rows.load(released.FOLDER / release / "rows.sql")
    show(release)


def show(release: str) -> None:
    """Prints what the tables hold in the columns that the release had."""
    print(json.dumps(rows.read(released.FOLDER / release / "rows.sql")))


def ready(release: str) -> None:
    """Prints what /ready says of the database."""
    checks = Client(headers={"host": "127.0.0.1"}).get("/ready").json()["checks"]
    print(json.dumps({"repository": checks["repository"]}))


def answer(release: str) -> None:
    """Prints what callers are told of what the rows hold."""
    key = ApiKey.issue(User.objects.get(username="ada"), "later", scope=ApiKey.Scope.ADMIN)[1]
    client = Client(headers={"x-api-key": key, "host": "127.0.0.1"})

    def data(path: str) -> Any:
        response = client.get(f"/api/v1/{path}")
        assert response.status_code == 200, response.content
        return response.json()["data"]

    jobs = {
        job["prompt"]: [job["status"], job["stage"], job["cost"]["settled"], (job["error"] or {}).get("code")]
        for job in data("videos?limit=100")
    }
    batches = {batch["name"]: batch["status"] for batch in data("batches?limit=100")}
    keys = {key["name"]: key["status"] for key in data("keys")}
    print(json.dumps({"jobs": jobs, "batches": batches, "keys": keys}))


def go_on(release: str) -> None:
    """Lets the work that the rows have open go on to its end, at an upstream that has what it accepted.

    Prints the prompts of the creates that were sent, and where each job and submission stands.
    """
    upstream = scripted(concurrency=1000)
    configured = Upstreams.only(upstream)
    registry.configured = lambda: configured
    client: object = upstream.client
    assert isinstance(client, ScriptedClient)
    Path(settings.MEDIA_ROOT).mkdir(exist_ok=True)
    accept_media()
    _know_what_was_accepted(client)
    client.creates.clear()
    for minute in range(_ROUNDS):
        with shifted(timedelta(minutes=minute)):
            while submit_next(upstream):
                pass
            for video in list(client.videos.values()):
                if video.phase == Phase.RUNNING:
                    client.complete(video.id)
            Provider.objects.filter(name=upstream.name).update(sweep_due_at=database_now())
            for due in all_due_work():
                if due.task == "sweep":
                    sweep(upstream)
                elif due.kind is not None:
                    attend(upstream, due.kind)
    jobs = Job.objects.order_by("created_at").prefetch_related("submissions")
    came_to = {
        job.fitted["prompt"]: [job.status, *(each.state for each in job.submissions.order_by("number"))]
        for job in jobs
    }
    print(json.dumps({"sent": sorted(request.prompt for request in client.creates), "jobs": came_to}))


def _know_what_was_accepted(client: ScriptedClient) -> None:
    forgotten = [SubmissionState.LOST, SubmissionState.DROPPED]
    accepted = Q(upstream_id__isnull=False) & ~Q(state__in=forgotten) | Q(state=SubmissionState.UNKNOWN)
    for submission in Submission.objects.filter(accepted):
        made = submission.upstream_created_at or submission.created_at
        video = client.add(CreateRequest(**submission.request), created_at=made)
        if submission.upstream_id is not None:
            del client.videos[video.id]
            client.videos[submission.upstream_id] = replace(video, id=submission.upstream_id)
            if submission.state != SubmissionState.RENDERING:
                client.complete(submission.upstream_id)


_STEPS: Final = {"make": make, "show": show, "ready": ready, "answer": answer, "go_on": go_on}


def main() -> None:
    """Does the step."""
    parser = argparse.ArgumentParser(prog="python -m tests.upgrades.database")
    parser.add_argument("release", choices=released.releases())
    parser.add_argument("step", choices=list(_STEPS))
    options = parser.parse_args()
    _STEPS[options.step](options.release)


if __name__ == "__main__":
    sys.exit(main())
