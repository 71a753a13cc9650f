"""Files that are kept at the same time complete their jobs by the same statements, as each would alone."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from structlog.contextvars import bound_contextvars

from tests.log_lines import Lines
from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient, eventually
from tests.videos.sending import submit_next
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, JobEvent, Submission
from videos.results import complete as completing
from videos.results.complete import complete
from videos.results.fetch import Downloaded
from videos.results.keep import Kept
from videos.results.probe import Probe

Render = Callable[[int], list[Submission]]


@pytest.fixture
def render(make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient) -> Render:
    """So many rendered submissions, with their jobs."""

    def make(count: int) -> list[Submission]:
        for _ in range(count):
            make_job()
            submit_next(upstream)
        for video in list(sora.videos.values()):
            sora.complete(video.id)
        sweep(upstream)
        rendered = (
            Submission.objects.select_related("job", "provider").filter(state="rendered").order_by("pk")
        )
        assert len(rendered) == count
        return list(rendered)

    return make


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of these results are only named."""
    monkeypatch.setattr(Kept, "is_there", lambda _: True)


def kept(number: int) -> Kept:
    found = Probe(64, 48, 1.5, "mp4", "h264", 8.0, False)
    return Kept(
        f"videos/{number}.mp4", f"videos/{number}.webp", Downloaded(1000 + number, "ab" * 32, 7), found
    )


def together(rendered: Sequence[Submission]) -> list[bool]:
    """Whether each was completed with the others."""
    some = [completing._Finished(each, kept(number)) for number, each in enumerate(rendered)]
    completing._complete_together(some)
    assert all(each.is_decided for each in some)
    return [each.is_completed for each in some]


def shown(job: Job, submission: Submission) -> dict[str, Any]:
    """All that is recorded, but for times, ids and what was asked."""
    job.refresh_from_db()
    submission.refresh_from_db()
    events = JobEvent.objects.filter(job=job).order_by("number")
    found = {
        name: value
        for row in (job, submission)
        for name, value in {
            field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields
        }.items()
        if not name.endswith(("_at", "_since", "_until", "id", "prompt", "match_key", "request", "fitted"))
    }
    times = {f"{name}_set" for name in ("completed_at", "failed_at") if getattr(job, name) is not None}
    return found | {
        "times": times,
        "ended": submission.ended_at is not None,
        "due": submission.due_at,
        "video": str(job.video)[-4:],
        "thumbnail": str(job.thumbnail)[-5:],
        "file_size": job.file_size is not None,
        "updated": job.updated_at == job.completed_at,
        "events": [
            (
                each.number,
                each.subject,
                each.submission_number,
                each.from_state,
                each.to_state,
                bool(each.detail),
            )
            for each in events
        ],
    }


@pytest.mark.django_db
def test_many_come_to_what_each_comes_to_by_itself(render: Render) -> None:
    first, second, third = render(3)
    assert completing._complete_alone(first, kept(0))
    assert together([second, third]) == [True, True]
    alone, *others = (shown(each.job, each) for each in (first, second, third))
    # The times of a move by itself are those of its two moves.
    alone.pop("updated")
    for other in others:
        assert other.pop("updated")
        assert other == alone
    second.job.refresh_from_db()
    assert (second.job.video.name, second.job.file_size, second.job.width) == ("videos/0.mp4", 1000, 64)


@pytest.mark.django_db
def test_what_nobody_waits_for_is_left_and_does_not_hold_the_others(render: Render) -> None:
    cancelled, gone, waiting = render(3)
    cancel(Job.objects.get(pk=cancelled.job_id))
    Submission.objects.filter(pk=gone.pk).update(state="lost")
    assert together([cancelled, gone, waiting]) == [False, False, True]
    assert not complete(cancelled, kept(3))
    assert Job.objects.get(pk=cancelled.job_id).status == "cancelled"
    assert Job.objects.get(pk=gone.job_id).status == "processing"
    assert JobEvent.objects.filter(to_state__in=["stored", "completed"]).count() == 2


@pytest.mark.django_db
def test_a_success_after_the_job_was_given_up_is_completed_by_itself(render: Render) -> None:
    (late,) = render(1)
    Job.objects.update(status="failed", error_code="gave_up", error_message="It took too long.")
    assert together([late]) == [False]
    assert complete(late, kept(0))
    assert Job.objects.get().status == "completed"


@pytest.mark.django_db
def test_if_they_cannot_be_written_together_each_is_by_itself(
    render: Render, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (one,) = render(1)

    def broken(*_: Any) -> None:
        raise DatabaseError("no")

    monkeypatch.setattr(completing, "_write_jobs", broken)
    assert complete(one, kept(0))
    assert Job.objects.get().status == "completed"
    assert "one by one: no" in caplog.text
    assert [each.to_state for each in JobEvent.objects.order_by("number")][-2:] == ["stored", "completed"]


@pytest.mark.django_db
def test_a_file_stays_if_the_answer_to_the_commit_is_lost(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = render(1)
    write = completing._complete_together

    def unanswered(some: Sequence[Any]) -> None:
        write(some)
        for each in some:
            each.is_completed = False

    monkeypatch.setattr(completing, "_complete_together", unanswered)
    assert complete(one, kept(0)), "its caller would discard the file of a completed job"
    assert Job.objects.get().status == "completed"
    assert not complete(one, kept(1)), "another file is nobody's"


@pytest.mark.django_db
def test_the_statements_are_as_many_for_many_as_for_one(render: Render) -> None:
    rendered = render(4)
    with CaptureQueriesContext(connection) as for_one:
        assert together(rendered[:1]) == [True]
    with CaptureQueriesContext(connection) as for_three:
        assert together(rendered[1:]) == [True] * 3
    assert len(for_three) == len(for_one)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_threads_that_end_at_once_are_written_by_one_and_each_hears_of_its_own(
    render: Render, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    rendered = render(4)
    cancel(Job.objects.get(pk=rendered[3].job_id))
    groups: list[int] = []
    write = completing._complete_together

    def noted(some: Sequence[Any]) -> None:
        groups.append(len(some))
        write(some)

    monkeypatch.setattr(completing, "_complete_together", noted)
    found: dict[int, bool] = {}

    def end(number: int) -> None:
        try:
            with bound_contextvars(batch_id="of this thread"):
                found[number] = completing.complete(rendered[number], kept(number))
        finally:
            connection.close()

    threads = [threading.Thread(target=end, args=[number]) for number in range(4)]
    with completing._writing:
        for thread in threads:
            thread.start()
        # All are in the queue before the first one may write.
        eventually(lambda: len(completing._waiting) == 4)
    for thread in threads:
        thread.join(TIMEOUT)
    assert found == {0: True, 1: True, 2: True, 3: False}
    assert groups == [4]
    said = {line["job_id"]: line for line in lines() if line.get("to_state") == "completed"}
    for number in range(3):
        job = Job.objects.get(pk=rendered[number].job_id)
        assert (job.status, str(job.video)) == ("completed", f"videos/{number}.mp4")
        assert "batch_id" not in said[str(job.pk)], "that of the thread that has written"
