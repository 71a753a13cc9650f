"""What a long downtime of ours, or a clock that jumps, must not decide."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from pytest_django import Settings

from tests.videos.rows import submission_in
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_submit import only, raising
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.types import CreateRequest
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import retry
from videos.lifecycle.working_time import _note, record_working
from videos.models import Job, Submission
from videos.queue.attend import attend
from videos.queue.dispatch import all_due_work
from videos.states import SubmissionState

pytestmark = pytest.mark.django_db

HOUR = 3600
DAYS = 3 * 24 * HOUR


def look(upstream: Upstream) -> None:
    """One dispatch, and all that it gives to do."""
    for due in all_due_work():
        if due.task == "sweep":
            sweep(upstream)
        elif due.kind is not None:
            attend(upstream, due.kind)


def after_downtime(seconds: float, upstream: Upstream) -> None:
    with shifted(timedelta(seconds=seconds)):
        look(upstream)


@pytest.fixture
def rendering(job: Job, upstream: Upstream) -> Submission:
    submit_next(upstream)
    all_due_work()
    return only(job)


@pytest.fixture
def rendered(rendering: Submission, upstream: Upstream, sora: ScriptedClient) -> Submission:
    sora.complete(str(rendering.upstream_id))
    sweep(upstream)
    rendering.refresh_from_db()
    return rendering


@pytest.fixture
def unknown(job: Job, upstream: Upstream, sora: ScriptedClient) -> Submission:
    """Accepted without an answer, while the list fails; looked for once."""
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    sora.list_error = errors.Unavailable("502")
    submit_next(upstream)
    with worked(30):
        look(upstream)
    assert only(job).silent_since is not None
    return only(job)


def test_a_file_that_waited_for_us_is_fetched_by_the_first_poll(
    rendered: Submission, upstream: Upstream
) -> None:
    after_downtime(DAYS, upstream)
    assert Job.objects.get().status == "completed"


def test_one_fetch_that_fails_after_a_downtime_loses_no_file(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.content = errors.Unavailable("reset")
    for seconds in range(0, 3300, 300):
        with worked(seconds):
            look(upstream)
    for later in (0, 120):
        after_downtime(DAYS + later, upstream)
        assert only(rendered.job).state == "rendered"
    sora.content = b""
    after_downtime(DAYS + 300, upstream)
    assert Job.objects.get().status == "completed"


def test_files_that_could_not_be_fetched_for_an_hour_are_lost_only_after_the_deadline(
    rendered: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.content = errors.Unavailable("reset")
    for seconds in range(0, 2 * HOUR, 600):
        with worked(seconds):
            look(upstream)
    assert only(rendered.job).state == "rendered"
    with worked(settings.JOB_GIVE_UP_AFTER + HOUR):
        look(upstream)
    assert (only(rendered.job).state, Job.objects.get().error_code) == ("lost", "result_lost")


@pytest.mark.parametrize("whole", [True, False], ids=["no video", "no file"])
def test_a_retry_fetches_a_file_that_was_given_up_before_it_expired(
    whole: bool, rendered: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    later = settings.JOB_GIVE_UP_AFTER + HOUR
    Submission.objects.update(expires_at=database_now() + timedelta(seconds=2 * later))
    sora.content = b"whole, and no video" if whole else errors.Unavailable("reset")
    for seconds in [*range(0, 2 * HOUR, 600), later]:
        with worked(seconds):
            look(upstream)
    job = Job.objects.get()
    assert (job.status, job.error_code) == ("failed", "result_lost")
    sora.content = b""
    with worked(later):
        retry(job)
        look(upstream)
        look(upstream)
        assert submit_next(upstream) is whole, "what can be fetched is not paid again"
    assert Job.objects.get().status == ("processing" if whole else "completed")


def test_a_silent_look_before_a_downtime_is_no_hour_of_silence(
    unknown: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    after_downtime(DAYS, upstream)
    after_downtime(DAYS + 60, upstream)
    assert only(unknown.job).state == "unknown"
    video = sora.add(CreateRequest(**unknown.request), created_at=unknown.created_at)
    sora.list_error = None
    after_downtime(DAYS + 120, upstream)
    assert (only(unknown.job).state, only(unknown.job).upstream_id) == ("rendering", video.id)


def test_one_failed_poll_on_either_side_of_a_downtime_is_no_hour_of_silence(
    unknown: Submission, upstream: Upstream
) -> None:
    # Past its time already: only the silence is still to be judged.
    Submission.objects.update(give_up_at=database_now())
    for later in (0, 60, 120):
        after_downtime(DAYS + later, upstream)
        assert only(unknown.job).state == "unknown"


@pytest.mark.parametrize("gap", [DAYS, -DAYS])
def test_a_clock_that_is_set_counts_as_no_silence(
    unknown: Submission, upstream: Upstream, gap: float
) -> None:
    for seconds in (60, 120):
        with shifted(timedelta(seconds=gap + seconds)):
            Submission.objects.update(due_at=database_now())
            look(upstream)
    for seconds in (180, 240):
        with shifted(timedelta(seconds=seconds)):
            Submission.objects.update(due_at=database_now())
            look(upstream)
    found = only(unknown.job)
    assert found.state == "unknown"
    assert found.silent_since is not None
    assert found.silent_at is not None
    assert found.silent_at - found.silent_since < timedelta(minutes=35)


def test_a_render_that_still_answers_is_not_given_up_after_a_downtime(
    rendering: Submission, upstream: Upstream, settings: Settings
) -> None:
    after_downtime(DAYS, upstream)
    assert only(rendering.job).state == "rendering"
    with worked(DAYS + settings.JOB_GIVE_UP_AFTER + 60):
        look(upstream)
    assert only(rendering.job).state == "given_up"


def test_nobody_judges_by_a_clock_that_has_just_jumped(rendering: Submission, upstream: Upstream) -> None:
    with shifted(timedelta(seconds=DAYS)):
        # A message that was on its way: no dispatch has noted the gap yet.
        sweep(upstream)
    assert only(rendering.job).state == "rendering"


def test_a_clock_that_is_set_back_gives_nothing_up_and_moves_no_deadline(
    rendering: Submission, upstream: Upstream
) -> None:
    deadline = rendering.give_up_at
    after_downtime(DAYS, upstream)
    moved = only(rendering.job).give_up_at
    assert abs(moved - deadline - timedelta(seconds=DAYS)) < timedelta(minutes=1)
    look(upstream)
    assert abs(only(rendering.job).give_up_at - deadline) < timedelta(minutes=1)
    assert only(rendering.job).state == "rendering"


def test_a_create_that_nobody_can_look_for_is_not_given_up_by_a_downtime(
    unknown: Submission, upstream: Upstream, settings: Settings
) -> None:
    Submission.objects.update(due_at=None)
    after_downtime(DAYS, upstream)
    assert only(unknown.job).state == "unknown"
    with worked(DAYS + settings.JOB_GIVE_UP_AFTER + 60):
        look(upstream)
    assert only(unknown.job).state == "given_up"


def test_a_late_render_is_asked_after_once_more_after_a_downtime(
    rendering: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    with worked(settings.JOB_GIVE_UP_AFTER + 60):
        look(upstream)
    assert only(rendering.job).state == "given_up"
    sora.complete(str(rendering.upstream_id))
    for later in (0, 1):
        after_downtime(settings.JOB_GIVE_UP_AFTER + DAYS + later, upstream)
    assert Job.objects.get().status == "completed"


def test_a_gap_is_added_once_by_whoever_notes_it_first(rendering: Submission, upstream: Upstream) -> None:
    deadline, stale = rendering.give_up_at, upstream.provider()
    with shifted(timedelta(seconds=DAYS)):
        record_working()
        record_working()
        _note(stale, database_now())
    passed = only(rendering.job).give_up_at - deadline
    assert abs(passed - timedelta(seconds=DAYS)) < timedelta(minutes=1)


def test_while_we_work_no_deadline_moves(
    make_job: Callable[..., Job], rendering: Submission, upstream: Upstream
) -> None:
    for seconds in range(0, 600, 30):
        with shifted(timedelta(seconds=seconds)):
            all_due_work()
    assert only(rendering.job).give_up_at == rendering.give_up_at


@pytest.mark.parametrize(
    ("dispatch", "away", "is_gap"),
    [(1, 59, False), (1, 62, True), (10, 99, False), (10, 102, True), (0.1, 59, False), (1, -62, True)],
)
def test_a_gap_is_a_minute_or_ten_dispatches(
    rendering: Submission, settings: Settings, dispatch: float, away: float, is_gap: bool
) -> None:
    settings.DISPATCH_SECONDS = dispatch
    Provider.objects.update(worked_at=database_now())
    with shifted(timedelta(seconds=away)):
        record_working()
    moved = only(rendering.job).give_up_at - rendering.give_up_at
    assert abs(moved - timedelta(seconds=away if is_gap else 0)) < timedelta(seconds=1)


@pytest.mark.parametrize(("later", "is_written"), [(5, False), (7, True), (-5, False), (-7, True)])
def test_that_we_work_is_written_every_six_seconds(
    rendering: Submission, upstream: Upstream, later: float, is_written: bool
) -> None:
    before = database_now()
    Provider.objects.update(worked_at=before)
    with shifted(timedelta(seconds=later)):
        record_working()
    assert (upstream.provider().worked_at != before) == is_written


def test_a_gap_moves_the_deadlines_of_its_own_upstream(rendering: Submission, upstream: Upstream) -> None:
    record_working()
    stale, other = upstream.provider(), Provider.objects.create(name="another")
    Provider.objects.update(worked_at=stale.worked_at)
    with shifted(timedelta(seconds=DAYS)):
        _note(Provider.objects.get(pk=other.pk), database_now())
    assert only(rendering.job).give_up_at == rendering.give_up_at
    assert upstream.provider().worked_at == stale.worked_at


@pytest.mark.parametrize(
    ("state", "due", "moves"),
    [
        (SubmissionState.UNKNOWN, False, True),
        (SubmissionState.RENDERED, True, True),
        (SubmissionState.GIVEN_UP, True, True),
        (SubmissionState.GIVEN_UP, False, False),
        (SubmissionState.STORED, False, False),
    ],
)
def test_a_gap_moves_what_is_open_or_still_due(
    job: Job, upstream: Upstream, state: SubmissionState, due: bool, moves: bool
) -> None:
    upstream.provider()
    record_working()
    submission = submission_in(job, state, due_at=database_now() if due else None)
    with shifted(timedelta(seconds=DAYS)):
        record_working()
    assert (only(job).give_up_at > submission.give_up_at) == moves
