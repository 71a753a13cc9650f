"""No bucket is asked while rows are locked.

Others wait for the locks, and PostgreSQL ends a transaction in which nothing happens for long.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from tests.stores.test_bucket import forget, names, stray
from upstreams.clock import shifted
from upstreams.registry import Upstream
from videos import tasks
from videos.models import Job, Submission
from videos.previews.make import make_next
from videos.results import complete as completing
from videos.results.keep import fetch_and_keep
from videos.results.refetch import refetch, request_refetch
from videos.retention import sweep as sweeping
from videos.retention.removal import remove_due, remove_result
from videos.retention.sweep import sweep_results
from videos.stores.bucket import Bucket

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, bucket: Bucket) -> list[bool]:
    """Of each call of the bucket, whether a transaction was open."""
    found: list[bool] = []
    errors = Bucket.errors

    @contextmanager
    def noted(self: Bucket, name: str = "") -> Iterator[None]:
        found.append(connection.in_atomic_block)
        with errors(self, name):
            yield

    monkeypatch.setattr(Bucket, "errors", noted)
    return found


def test_in_no_journey(
    complete: Callable[..., Job],
    upstream: Upstream,
    bucket: Bucket,
    settings: Settings,
    asked: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, other, third, moved = (complete() for _ in range(4))
    while make_next():
        pass
    default_storage.delete(str(job.video.name))
    assert request_refetch(job)
    refetch(Submission.objects.get(job=job), upstream)
    left = stray(bucket, job)
    monkeypatch.setattr(sweeping, "UNUSED_IN_BUCKET_SECONDS", -24 * 3_600)
    assert sweep_results() == 1
    assert not default_storage.exists(left)
    remove_result(other)
    Job.objects.filter(pk=third.pk).update(remove_at=timezone.now() - timedelta(seconds=5))
    assert remove_due() == 1
    settings.RESULT_BUCKET = ""
    call_command("move_results")
    moved.refresh_from_db()
    assert not str(moved.video.name).startswith("s3/")
    assert names(bucket) == []
    assert len(asked) > 30
    assert not any(asked)


def test_completed_together(render: Callable[..., Submission], upstream: Upstream, asked: list[bool]) -> None:
    submissions = [render() for _ in range(3)]
    kept = [fetch_and_keep(each, upstream) for each in submissions]
    for submission, each in zip(submissions, kept, strict=True):
        assert completing.complete(submission, each)
    assert Job.objects.filter(status="completed").count() == 3
    assert not any(asked)


def test_an_erased_account_whose_bucket_is_away_is_erased_later(
    complete: Callable[..., Job], bucket: Bucket, settings: Settings, owner: User
) -> None:
    complete()
    User.objects.filter(pk=owner.pk).update(is_active=False)
    there = settings.RESULT_BUCKETS
    settings.RESULT_BUCKETS = {
        bucket.bucket_name: {**there[bucket.bucket_name], "endpoint_url": "http://127.0.0.1:9"}
    }
    forget()
    with pytest.raises(CommandError, match=r"cannot be reached.*Run it again"):
        call_command("erase_account", owner.username, "--apply")
    settings.RESULT_BUCKETS = there
    forget()
    call_command("erase_account", owner.username, "--apply")
    assert names(bucket) == []


def test_what_could_not_be_removed_is_removed_when_it_is_erased_again(
    complete: Callable[..., Job], bucket: Bucket, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete()
    User.objects.filter(pk=owner.pk).update(is_active=False)

    def refuse(*_: Any) -> None:
        raise OSError("the bucket answers SlowDown")

    monkeypatch.setattr(Bucket, "delete_all", refuse)
    with pytest.raises(CommandError, match=r"SlowDown.*Run it again"):
        call_command("erase_account", owner.username, "--apply")
    monkeypatch.undo()
    call_command("erase_account", owner.username, "--apply")
    assert names(bucket) == []


def test_jobs_wait_with_the_archive_while_their_bucket_is_away(
    complete: Callable[..., Job], bucket: Bucket, settings: Settings
) -> None:
    settings.JOB_RETENTION_DAYS = 30
    complete()
    with shifted(timedelta(days=2)):
        # The last one of its upstream stays.
        complete()
    tasks.count_usage()
    there = settings.RESULT_BUCKETS
    away = {**there[bucket.bucket_name], "endpoint_url": "http://127.0.0.1:9"}
    for buckets, jobs in (({bucket.bucket_name: away}, 2), (there, 1)):
        settings.RESULT_BUCKETS = buckets
        forget()
        with shifted(timedelta(days=31)):
            tasks.archive()
        assert Job.objects.count() == jobs
    assert len(names(bucket)) == 2


def test_a_range_that_is_not_answered_as_one_is_refused(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.save("videos/2026/11/x.mp4", ContentFile(b"0123456789"))
    with bucket.open_at("videos/2026/11/x.mp4", 4) as file:
        assert file.read(-1) == b"456789"
    client = bucket.connection.meta.client
    get = client.get_object
    monkeypatch.setattr(client, "get_object", lambda Range="", **asked: get(**asked))
    with pytest.raises(OSError, match="does not answer with the range"):
        bucket.open_at("videos/2026/11/x.mp4", 4)
    with bucket.open_at("videos/2026/11/x.mp4", 0) as file:
        assert file.read(-1) == b"0123456789"
