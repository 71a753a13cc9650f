"""What a list keeps of ended jobs is what it would read."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from upstreams.registry import Upstream
from videos.api import fragments
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.outcomes import accept
from videos.lifecycle.retry import retry
from videos.models import Job, Submission
from videos.results.store import store

URL = "/api/v1/videos"
Make = Callable[..., Job]


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nothing is kept from before."""
    empty = fragments._Kept(1 << 20)
    monkeypatch.setattr(fragments, "_kept", empty)
    return empty


def listed(api: Client, **headers: str) -> list[dict[str, Any]]:
    answer = api.get(URL, headers=headers)
    assert answer.status_code == 200
    return list(answer.json()["data"])


def read(api: Client, job: Job) -> Any:
    return api.get(f"{URL}/{job.pk}").json()["data"]


@pytest.mark.django_db
def test_a_list_shows_each_job_as_its_read_does_before_and_after_it_is_kept(
    api: Client, make_job: Make, upstream: Upstream, sora: ScriptedClient
) -> None:
    done, failed, cancelled, waiting = make_job(metadata={"n": 2**70}), make_job(), make_job(), make_job()
    for well in (True, False):
        submit_next(upstream)
        video = Submission.objects.latest("pk").upstream_id
        (sora.complete if well else sora.fail)(str(video))
        sweep(upstream)
    store(done.submissions.get(), upstream)
    cancel(cancelled)
    expected = [read(api, job) for job in (waiting, cancelled, failed, done)]
    assert [each["status"] for each in expected] == ["pending", "cancelled", "failed", "completed"]
    for _ in range(2):
        found = listed(api)
        for each in (*found, *expected):
            each.pop("estimatedCompletionAt")
            each.pop("estimatedCompletionBy")
        assert found == expected
        expected = [read(api, job) for job in (waiting, cancelled, failed, done)]


@pytest.mark.django_db
def test_ended_jobs_are_read_once(api: Client, make_job: Make) -> None:
    for _ in range(3):
        cancel(make_job())
    first = listed(api)
    Job.objects.update(prompt="not read again")
    assert listed(api) == first


@pytest.mark.django_db
def test_what_happens_to_an_ended_job_is_shown(
    api: Client, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    cancel(job)
    assert [each["status"] for each in listed(api)] == ["cancelled"]
    retry(Job.objects.get())
    assert [each["status"] for each in listed(api)] == ["pending"]
    submit_next(upstream)
    cancel(Job.objects.get())
    # Its attempt is still live, and ends without a move of the job.
    assert [(each["stage"], each["cost"]["settled"]) for each in listed(api)] == [("rendering", "0.00")]
    sora.complete(str(job.submissions.get().upstream_id))
    sweep(upstream)
    assert [each["stage"] for each in listed(api)] == [read(api, job)["stage"]]
    assert listed(api)[0]["cost"] == read(api, job)["cost"]


@pytest.mark.django_db
def test_what_is_paid_after_the_end_is_shown(api: Client, job: Job, upstream: Upstream) -> None:
    submit_next(upstream)
    cancel(Job.objects.get())
    Submission.objects.update(state="dropped", cost_state="released", due_at=None)
    before = listed(api)
    assert before[0]["cost"]["settled"] == "0.00"
    late = Submission.objects.get()
    late.job = Job.lock(pk=job.pk)
    assert late.move("rendering", cost_state="settled")  # type: ignore[arg-type]
    assert listed(api)[0]["cost"]["settled"] == "0.40"
    assert listed(api)[0]["updatedAt"] > before[0]["updatedAt"]


@pytest.mark.django_db
def test_an_id_that_is_found_after_all_is_shown(
    api: Client, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    video = next(iter(sora.videos.values()))
    Submission.objects.update(
        state="given_up", cost_state="settled", upstream_id=None, due_at=None, accepted_at=None
    )
    Job.objects.update(status="failed", error_code="gave_up", failed_at=datetime.now(UTC))
    assert listed(api)[0]["soraJobId"] is None
    submission = Submission.objects.get()
    submission.job = Job.lock(pk=job.pk)
    accept(submission.job, submission, video, upstream, how="late")
    assert listed(api)[0]["soraJobId"] == video.id


@pytest.mark.django_db
def test_addresses_are_those_of_the_host_that_the_caller_asked(
    api: Client, make_job: Make, upstream: Upstream, sora: ScriptedClient
) -> None:
    job = make_job()
    submit_next(upstream)
    sora.complete(str(job.submissions.get().upstream_id))
    sweep(upstream)
    store(job.submissions.get(), upstream)
    for host in ("testserver", "localhost", "testserver"):
        (shown,) = listed(api, host=host)
        assert shown["result"]["videoUrl"].startswith(f"http://{host}/")


@pytest.mark.django_db
def test_another_owners_jobs_are_not_shown_though_they_are_kept(
    api: Client, make_job: Make, django_user_model: Any
) -> None:
    cancel(make_job())
    assert len(listed(api)) == 1
    Job.objects.update(owner=django_user_model.objects.create_user("bob"))
    assert listed(api) == []


def test_no_more_is_kept_than_fits() -> None:
    kept, at = fragments._Kept(100), datetime.now(UTC)
    pks = [uuid4() for _ in range(4)]
    for pk in pks[:3]:
        kept.keep(pk, "", at, b"x" * 30)
    assert kept.get(pks[0], "", at)
    kept.keep(pks[3], "", at, b"x" * 30)
    assert [kept.get(pk, "", at) is not None for pk in pks] == [True, False, True, True], "what was used last"
    kept.keep(pks[3], "", at, b"y" * 20)
    assert (kept._bytes, kept.get(pks[3], "", at)) == (80, b"y" * 20)
    kept.keep(pks[3], "", at, b"x" * 200)
    assert (kept._bytes, len(kept._texts)) == (0, 0)
    assert kept.get(UUID(int=1), "", at) is None


@pytest.mark.django_db
def test_a_list_of_ended_jobs_reads_no_rows_of_theirs(api: Client, make_job: Make) -> None:
    for _ in range(3):
        cancel(make_job())
    listed(api)
    with CaptureQueriesContext(connection) as asked:
        text = api.get(URL).content
    assert not [each for each in asked if "videos_submission" in str(each["sql"])]
    assert len(json.loads(text)["data"]) == 3
