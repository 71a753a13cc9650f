"""Whatever an upstream answers, no journey raises, and each row ends in a state of the table."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
import responses
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.models import Reservation, User
from tests.configured import configure
from tests.sora.test_hostile_values import EXTREMES, FIELDS, VALUES
from tests.videos.scripted import clip
from tests.videos.sending import submit_next
from tests.videos.working import worked
from upstreams.client.client import SoraClient
from upstreams.client.dialects import OPENAI
from upstreams.models import Call, Provider
from upstreams.offer.catalogue import SORA
from upstreams.offer.fitting import VideoRequest
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.create import create
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, JobEvent
from videos.queue import dispatch
from videos.queue.attend import attend
from videos.reconciliation.audit import audit, audit_if_due
from videos.reconciliation.decisions import Refused, adopt
from videos.reconciliation.undecided import undecided
from videos.states import COST_IN, JOB_OPEN, LIVE, JobStatus

pytestmark = pytest.mark.django_db

ROOT = "http://hostile.test/v1/videos"
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after-ms", "Content-Type", "Location", "Date", "X-Request-Id"]),
    st.sampled_from(
        ["1e300", "nan", "-5", "0", "9" * 500, "Fri, 31 Dec 9999 23:59:59 GMT", "video/mp4", "image/webp",
         "text/\x00", "\x00\x1b[2J", "http://[", "http://10.0.0.1/x", "//", "é" * 50, "application/json", ""]
    ),
    max_size=3,
)  # fmt: skip
STATUSES = st.sampled_from([200, 200, 200, 200, 200, 201, 204, 302, 400, 401, 404, 409, 429, 500, 503])


def video_like(now: datetime) -> st.SearchStrategy[dict[str, Any]]:
    """What could be an answer, with up to three fields that no clock, counter or column has."""
    real = st.fixed_dictionaries(
        {
            "id": st.sampled_from(["video_1", "video_2"]),
            "status": st.sampled_from(
                ["queued", "in_progress", "completed", "failed", "expired", "cancelled"]
            ),
            "model": st.just("sora-2"),
            "prompt": st.just("a boat"),
            "size": st.sampled_from(["1280x720", "720x1280"]),
            "seconds": st.sampled_from(["4", 4]),
            "created_at": st.just(int(now.timestamp())),
            "expires_at": st.sampled_from([None, int(now.timestamp()) + 3600, 1]),
            "error": st.sampled_from([None, {"code": "moderation_blocked", "message": "no"}]),
        }
    )
    wrong = st.dictionaries(st.sampled_from(FIELDS), VALUES | EXTREMES, max_size=3)
    return st.builds(lambda right, hostile: right | hostile, real, wrong)


def json_of(*payloads: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return st.one_of(*payloads).map(lambda payload: json.dumps(payload).encode())


BROKEN = st.sampled_from([b"", b"[" * 5_000, b'{"data": [', b"\xff\xfe", b"#EXTM3U\nhttp://10.0.0.1/x"])


def bodies(now: datetime) -> dict[str, st.SearchStrategy[bytes]]:
    """For each call what it may be answered with, mostly of the right kind."""
    one = video_like(now)
    page = st.fixed_dictionaries(
        {"data": st.lists(one | VALUES, max_size=4)},
        optional={"has_more": st.booleans() | VALUES, "last_id": st.just("video_2") | VALUES},
    )
    files = st.sampled_from([clip(), clip(), b"RIFF....WEBPVP8 ", b"x" * 100])
    return {
        "create": json_of(one, one, one, VALUES) | BROKEN,
        "list": json_of(page, page, page, one) | BROKEN,
        "retrieve": json_of(one, one, one, VALUES) | BROKEN,
        "content": files | BROKEN,
        "delete": json_of(one, VALUES) | BROKEN,
    }


def honest(now: datetime) -> dict[str, bytes]:
    """What an upstream that works answers: so that the other calls' lies are met further on."""
    video = {"id": "video_1", "status": "queued", "created_at": int(now.timestamp())}
    asked = {"model": "sora-2", "prompt": "a boat", "size": "1280x720", "seconds": "4"}
    done = video | asked | {"status": "completed", "expires_at": int(now.timestamp()) + 86_400}
    return {
        "create": json.dumps(video | asked).encode(),
        "list": json.dumps({"data": [done], "has_more": False, "last_id": "video_1"}).encode(),
        "retrieve": json.dumps(done).encode(),
        "content": clip(),
        "delete": b"{}",
    }


class Hostile:
    """Answers each kind of call with the next of its answers, from the first again after the last."""

    def __init__(self, answers: dict[str, list[tuple[int, dict[str, str], bytes]]]) -> None:
        self.answers = answers
        self.asked: Counter[str] = Counter()

    def __call__(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        call = {"POST": "create", "DELETE": "delete"}.get(request.method)
        path = request.url.partition("?")[0]
        call = call or ("list" if path == ROOT else "content" if path.endswith("/content") else "retrieve")
        self.asked[call] += 1
        return self.answers[call][self.asked[call] % len(self.answers[call])]


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    client = SoraClient(
        "http://hostile.test/v1",
        "k",
        dialect=OPENAI,
        timeout=2,
        retries=0,
        retry_delay=0.01,
        sleep=lambda _: None,
    )
    found = Upstream("hostile", client, OPENAI, SORA, concurrency=2, deadline=2, lease=6)
    configure(monkeypatch, found)
    yield found
    client.close()


def run_due(upstream: Upstream) -> None:
    for work in dispatch.all_due_work():
        match work.task:
            case "submit":
                submit_next(upstream)
            case "sweep":
                sweep(upstream)
            case "probe":
                dispatch.probe(upstream)
            case "audit":
                audit_if_due(upstream)
            case "attend":
                assert work.kind is not None
                attend(upstream, work.kind)


def check_books() -> None:
    for job in Job.objects.all():
        live = job.submissions.filter(state__in=LIVE).count()
        assert live <= 1
        assert job.faults == 0, job.fault
        assert live or job.status != JobStatus.PROCESSING
        for row in job.submissions.all():
            assert row.faults == 0, row.fault
            assert row.cost_state in COST_IN[row.state]  # type: ignore[index]
            # Nothing waits for ever unseen: it is due at some time, or a person is asked.
            assert row.due_at is not None or row.state not in LIVE
            assert row.due_at is None or row.due_at < datetime.now(UTC) + timedelta(days=4)
        assert job.status not in JOB_OPEN or live or job.due_at < datetime.now(UTC) + timedelta(days=4)


def test_no_answer_of_an_upstream_raises_in_any_journey(
    hostile: Upstream, owner: User, settings: Settings
) -> None:
    """More than `make test` does: HOSTILE_EXAMPLES=1000."""
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]
    settings.AUDIT_SECONDS = 60
    reached: set[str] = set()

    @hypothesis.settings(
        max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "15")),
        derandomize="HOSTILE_EXAMPLES" not in os.environ,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def live_through(data: st.DataObject) -> None:
        reached.update(_live_through(data, hostile, owner))

    live_through()
    # Otherwise it has shown little.
    assert reached >= {"unknown", "rendering", "rendered", "stored", "dropped", "given_up"}, reached


def _live_through(data: st.DataObject, hostile: Upstream, owner: User) -> set[str]:
    """Three jobs, from their creates to past every limit, with one upstream's answers; the states reached."""
    now = datetime.now(UTC)
    answers = {}
    for call, body in bodies(now).items():
        lies = st.lists(st.tuples(STATUSES, HEADERS, body), min_size=1, max_size=3)
        truth = st.just([(200, {"Content-Type": "video/mp4"}, honest(now)[call])])
        answers[call] = data.draw(truth | lies, label=call)
    try:
        with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
            server = Hostile(answers)
            for method in (responses.POST, responses.GET, responses.DELETE):
                mock.add_callback(method, re.compile(rf"{ROOT}.*"), server)
            jobs = [
                create(VideoRequest(prompt=prompt), owner=owner, api_key=None)
                for prompt in ("a boat", "a boat", "another")
            ]
            for second in (0, 3, 9, 30, 90_000, 270_000):
                with worked(second):
                    Provider.objects.update(**{call.backoff_field: None for call in Call})
                    run_due(hostile)
                    if second == 9:
                        for unfinished in Job.objects.filter(pk=jobs[0].pk, status__in=JOB_OPEN):
                            cancel(unfinished)
                    for line in audit(hostile).findings():
                        assert line.encode()
                    for waiting in undecided():
                        with suppress(Refused):
                            adopt(waiting.submission, "video_9")
            check_books()
        return set(JobEvent.objects.filter(subject="submission").values_list("to_state", flat=True))
    finally:
        Job.objects.all().delete()
        Provider.objects.all().delete()
        Reservation.objects.all().delete()
