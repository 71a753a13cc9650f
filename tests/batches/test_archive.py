"""Batches that were completed long ago are archived, and then their jobs."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.http import Http404
from django.test import Client
from pytest_django import Settings

from batches import tasks
from batches.lifecycle.retry import retry_failed
from batches.models import Batch, BatchEvent
from tests.batches.conftest import MakeBatch, Renders
from upstreams.clock import database_now, shifted
from videos.models import Group, Job
from videos.usage.count import count_some

pytestmark = pytest.mark.django_db

LATER = timedelta(days=31)


@pytest.fixture(autouse=True)
def _thirty_days(settings: Settings) -> None:
    settings.JOB_RETENTION_DAYS = 30


@pytest.fixture
def ended(make_batch: MakeBatch, renders: Renders) -> Batch:
    """A batch whose jobs have all failed."""
    batch = make_batch(2)
    while renders.send():
        for job in Job.objects.filter(group=batch.pk, status="processing"):
            renders.end(job.prompt, well=False)
    assert tasks.complete(batch.pk)
    count_some()
    batch.refresh_from_db()
    return batch


def run(after: timedelta = LATER) -> None:
    with shifted(after):
        tasks.archive()


def lines(settings: Settings, kind: str) -> list[dict[str, Any]]:
    files = sorted(Path(settings.MEDIA_ROOT).glob(f"archive/*/{kind}-*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def another_upstream_day(make_batch: MakeBatch, renders: Renders) -> Batch:
    """A batch that is sent ten days later, so the attempts of the first are not the last."""
    with shifted(timedelta(days=10)):
        later = make_batch(1)
        renders.send()
    return later


def test_an_old_batch_is_archived_with_its_history_and_its_jobs_follow(
    ended: Batch, make_batch: MakeBatch, renders: Renders, settings: Settings, api: Client
) -> None:
    later = another_upstream_day(make_batch, renders)
    jobs = set(map(str, Job.objects.filter(group=ended.pk).values_list("pk", flat=True)))
    run(timedelta(days=29))
    assert lines(settings, "batches") == []
    run()
    (line,) = lines(settings, "batches")
    assert (line["group_id"], line["total"]) == (str(ended.pk), 2)
    assert [each["kind"] for each in line["events"]] == ["created", "completed"]
    assert {each["id"] for each in lines(settings, "jobs")} == jobs
    assert {each["group_id"] for each in lines(settings, "jobs")} == {str(ended.pk)}
    assert list(Group.objects.all()) == [later.group], "nothing is left of the old one"
    assert list(Batch.objects.all()) == [later]
    assert not BatchEvent.objects.filter(batch=ended.pk).exists()
    assert api.get(f"/api/v1/batches/{ended.pk}").status_code == 404


def test_a_batch_of_which_a_job_has_moved_since_stays_whole(
    ended: Batch, make_batch: MakeBatch, renders: Renders, settings: Settings
) -> None:
    another_upstream_day(make_batch, renders)
    job = Job.objects.filter(group=ended.pk)[0]
    Job.objects.filter(pk=job.pk).update(updated_at=database_now() + timedelta(days=5))
    run()
    assert Job.objects.filter(group=ended.pk).count() == 2
    assert Batch.objects.filter(pk=ended.pk).exists()


def test_a_batch_of_which_a_job_is_on_hold_stays_whole(
    ended: Batch, make_batch: MakeBatch, renders: Renders
) -> None:
    another_upstream_day(make_batch, renders)
    job = Job.objects.filter(group=ended.pk)[0]
    Job.objects.filter(pk=job.pk).update(on_hold=True)
    run()
    assert Job.objects.filter(group=ended.pk).count() == 2
    assert Batch.objects.filter(pk=ended.pk).exists()
    Job.objects.filter(pk=job.pk).update(on_hold=False)
    run()
    assert not Batch.objects.filter(pk=ended.pk).exists()


def test_an_open_batch_stays(ended: Batch, make_batch: MakeBatch, renders: Renders) -> None:
    another_upstream_day(make_batch, renders)
    Batch.objects.filter(pk=ended.pk).update(completed_at=None)
    run()
    assert Job.objects.filter(group=ended.pk).count() == 2


def test_what_cannot_be_archived_stays_and_is_said(
    ended: Batch, settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("videos.retention.files._write", broken)
    run()
    assert "No batch is archived: the disk is gone" in caplog.text
    assert Batch.objects.filter(pk=ended.pk).exists()


def test_a_retry_of_a_batch_that_is_archived_in_this_moment_retries_nothing(ended: Batch) -> None:
    BatchEvent.objects.all().delete()
    Batch.objects.all().delete()
    with pytest.raises(Http404):
        retry_failed(ended)
    assert set(Job.objects.values_list("status", flat=True)) == {"failed"}
