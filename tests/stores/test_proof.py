"""Nothing is stored in a bucket, or removed from it, unless it is the one that the database knows."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.stores.test_bucket import URL, forget, names
from upstreams.registry import Upstream
from videos import tasks
from videos.models import Job, MediaFolder, Submission
from videos.results import bucket_proof, keep
from videos.results.bucket_proof import MARKER, bucket_problem
from videos.results.media import accept_media, media_problem, removal_problem
from videos.results.store import store
from videos.retention.removal import remove_due
from videos.stores.bucket import Bucket

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bucket")]


def change(settings: Settings, bucket: Bucket, **changes: Any) -> None:
    """As an operator changes the address of the bucket by mistake."""
    options = settings.RESULT_BUCKETS[bucket.bucket_name]
    settings.RESULT_BUCKETS = {bucket.bucket_name: {**options, **changes}}
    forget()


def test_the_first_result_marks_the_bucket(complete: Callable[..., Job], bucket: Bucket) -> None:
    complete()
    assert bucket.marker(MARKER) == str(MediaFolder.objects.get().identity)
    assert (media_problem(), removal_problem()) == ("", "")


def test_another_prefix_is_not_the_bucket(
    complete: Callable[..., Job],
    render: Callable[..., Submission],
    upstream: Upstream,
    bucket: Bucket,
    settings: Settings,
    api: Client,
) -> None:
    job = complete()
    submission = render()
    change(settings, bucket, location="of/others")
    assert "has no marker, so it is not as it was" in media_problem()
    store(submission, upstream)
    submission.refresh_from_db()
    assert (submission.state, submission.attempts) == ("rendered", 0)
    assert "accept-bucket" in submission.error_message
    assert api.delete(f"{URL}/{job.pk}/content").status_code == 503
    Job.objects.filter(pk=job.pk).update(remove_at=timezone.now())
    assert remove_due() == 0
    tasks.clean_results()
    change(settings, bucket, location="of/ours")
    assert len(names(bucket)) == 2
    assert media_problem() == ""


def test_the_bucket_of_another_database_is_left_alone(
    complete: Callable[..., Job], bucket: Bucket, api: Client
) -> None:
    """As after a copy of the database was restored on another machine, with a folder of its own."""
    job = complete()
    MediaFolder.objects.update(identity=uuid.uuid4())
    accept_media()
    MediaFolder.objects.update(identity=uuid.uuid4())
    known = MediaFolder.objects.get()
    assert "belongs to another database" in bucket_problem(known)
    assert api.delete(f"{URL}/{job.pk}/content").status_code == 503
    assert default_storage.exists(str(job.video.name))


def test_a_person_may_take_it_as_it_is(
    complete: Callable[..., Job], bucket: Bucket, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    complete()
    default_storage.delete(f"s3/{bucket.bucket_name}/{MARKER}")
    forget()
    assert "has no marker" in media_problem()
    call_command("media", "accept-bucket")
    assert f"Accepted: the bucket {bucket.bucket_name}" in capsys.readouterr().out
    assert media_problem() == ""
    settings.RESULT_BUCKETS = {}
    settings.RESULT_BUCKET = ""
    with pytest.raises(CommandError, match="There is no bucket"):
        call_command("media", "accept-bucket")


def test_a_store_that_answers_and_takes_no_file_is_found_out(
    complete: Callable[..., Job],
    render: Callable[..., Submission],
    upstream: Upstream,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complete()
    submission = render()

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(f"the bucket {bucket.bucket_name} answers AccessDenied")

    monkeypatch.setattr(Bucket, "save", refuse)
    monkeypatch.setattr(Bucket, "write_marker", refuse)
    downloads: list[Any] = []
    download = keep.download
    monkeypatch.setattr(keep, "download", lambda *given: downloads.append(1) or download(*given))
    for _ in range(5):
        Submission.objects.filter(pk=submission.pk).update(due_at=timezone.now() - timedelta(seconds=1))
        store(submission, upstream)
        submission.refresh_from_db()
    assert len(downloads) == 1, "the first refusal is enough"
    assert "AccessDenied" in media_problem()
    assert (submission.state, submission.attempts) == ("rendered", 0)
    monkeypatch.undo()
    Submission.objects.filter(pk=submission.pk).update(due_at=timezone.now() - timedelta(seconds=1))
    store(submission, upstream)
    assert Job.objects.get(pk=submission.job_id).status == "completed"


def test_it_is_asked_now_and_then(
    complete: Callable[..., Job], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete()
    asked: list[Any] = []
    marker = bucket.marker
    monkeypatch.setattr(bucket, "marker", lambda name: asked.append(1) or marker(name))
    for _ in range(3):
        assert media_problem() == ""
    assert asked == []
    monkeypatch.setattr(bucket_proof, "_PROVEN_SECONDS", -1)
    assert media_problem() == ""
    assert asked == [1]
