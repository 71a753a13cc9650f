"""What an account keeps here is known in bytes at each moment, and has a limit if the operator sets one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import ApiKey, User
from tests.videos.scripted import ScriptedClient, clip
from tests.videos.test_links import complete
from upstreams.registry import Upstream
from videos import tasks
from videos.models import Job, StoredBytes, Submission
from videos.results.refetch import refetch, request_refetch
from videos.retention import archive
from videos.retention.removal import remove_result
from videos.usage import stored
from videos.usage.count import count_some
from videos.usage.stored import fold, stored_bytes

__all__ = ["complete"]

pytestmark = pytest.mark.django_db

ONE = len(clip())


def held(owner: User) -> int:
    """What the jobs themselves say, and the sums agree with."""
    total = sum(Job.objects.filter(owner=owner).values_list("stored_bytes", flat=True))
    assert stored_bytes(owner) == total
    return total


def test_it_follows_what_comes_and_goes(complete: Callable[..., Job], owner: User, api: Client) -> None:
    jobs = [complete() for _ in range(3)]
    assert held(owner) == 0
    tasks.count_usage()
    assert held(owner) == 3 * ONE
    tasks.count_usage()
    assert held(owner) == 3 * ONE
    data = api.get("/api/v1/usage").json()["data"]
    assert (data["storedBytes"], data["storedBytesMax"]) == (3 * ONE, None)
    remove_result(jobs[0])
    assert held(owner) == 2 * ONE
    remove_result(jobs[0])
    assert held(owner) == 2 * ONE
    # Something of a job that has ended is counted anew.
    Job.objects.get(pk=jobs[1].pk).take_back()
    tasks.count_usage()
    assert held(owner) == 2 * ONE


def test_what_was_removed_before_it_was_counted_is_in_no_sum(
    complete: Callable[..., Job], owner: User
) -> None:
    remove_result(complete())
    tasks.count_usage()
    assert (held(owner), StoredBytes.objects.count()) == (0, 0)


def test_a_file_that_comes_again_counts_with_its_new_length(
    complete: Callable[..., Job], owner: User, sora: ScriptedClient, upstream: Upstream
) -> None:
    job = complete()
    tasks.count_usage()
    job.video.storage.delete(str(job.video.name))
    sora.content = clip(title="a title makes it longer")
    assert len(sora.content) != ONE
    assert request_refetch(job)
    refetch(Submission.objects.get(job=job), upstream)
    assert held(owner) == len(sora.content)


def test_an_archived_job_takes_its_bytes_along(
    complete: Callable[..., Job], owner: User, settings: Settings
) -> None:
    complete()
    tasks.count_usage()
    settings.JOB_RETENTION_DAYS = 1
    past = timezone.now() - timedelta(days=40)
    Job.objects.update(updated_at=past)
    Submission.objects.update(due_at=None)
    archive._remove(list(Job.objects.all()))
    assert (Job.objects.count(), stored_bytes(owner)) == (0, 0)


def test_jobs_of_an_older_version_are_counted_later(
    complete: Callable[..., Job], owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [complete() for _ in range(3)]
    Job.objects.update(counted=True)
    # Of a version that did not know their lengths.
    Job.objects.filter(pk=jobs[0].pk).update(file_size=None)
    monkeypatch.setattr(stored, "_TOGETHER", 1)
    tasks.count_usage()
    assert held(owner) == 2 * ONE


def test_many_changes_become_one_row(complete: Callable[..., Job], owner: User) -> None:
    for _ in range(3):
        complete()
        count_some()
    assert StoredBytes.objects.count() == 3
    assert fold() == 2
    assert (held(owner), StoredBytes.objects.count()) == (3 * ONE, 1)
    assert fold() == 0


def test_everybody_sees_their_own(complete: Callable[..., Job], api: Client) -> None:
    other = User.objects.create_user("other")
    complete(by=other)
    tasks.count_usage()
    assert api.get("/api/v1/usage").json()["data"]["storedBytes"] == 0
    _, secret = ApiKey.issue(other, "key")
    theirs = Client(headers={"x-api-key": secret}).get("/api/v1/usage").json()["data"]
    assert theirs["storedBytes"] == ONE


def refused(answer: Any) -> Any:
    assert answer.status_code == 409
    return answer.json()["error"]


def test_at_the_limit_nothing_more_can_be_asked_for(
    complete: Callable[..., Job], api: Client, settings: Settings, make_job: Callable[..., Job]
) -> None:
    def ask(address: str, **body: Any) -> Any:
        return api.post(address, body, content_type="application/json")

    job, failed = complete(), make_job()
    tasks.count_usage()
    Job.objects.filter(pk=failed.pk).update(status="failed", error_code="x", reservation=None)
    before = Job.objects.count()
    settings.RESULT_BYTES_MAX = ONE
    for answer in (
        ask("/api/v1/videos", prompt="a boat"),
        ask("/api/v1/videos/batch", videos=[{"prompt": "a boat"}]),
        ask(f"/api/v1/videos/{failed.pk}/retry"),
    ):
        error = refused(answer)
        assert error["code"] == "storage_full"
        assert error["details"] == {"storedBytes": ONE, "most": ONE}
    assert Job.objects.count() == before
    assert api.get("/api/v1/usage").json()["data"]["storedBytesMax"] == ONE
    remove_result(job)
    assert ask("/api/v1/videos", prompt="a boat").status_code == 201
