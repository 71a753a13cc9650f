"""No kind of work holds a whole worker: real threads, and an upstream that drips."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from accounts.models import User
from config.celery import share_out as on_worker_init
from tests.configured import configure
from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient, clip, eventually, scripted
from tests.videos.sending import submit_next
from upstreams.client import errors
from upstreams.client.files.downloads import Content
from upstreams.clock import database_now, in_database, shifted
from upstreams.models import Provider
from upstreams.offer.catalogue import SORA, Catalogue
from upstreams.offer.request import VideoRequest
from upstreams.registry import Upstream
from videos import tasks
from videos.lifecycle.create import create as ask
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission
from videos.queue import slots
from videos.queue.slots import Kind, Slots, slot
from videos.reconciliation.restored import books
from videos.results.store import store

THREADS = 8


@pytest.fixture(autouse=True)
def _one_worker() -> None:
    slots.share_out(THREADS)


@pytest.fixture
def _endless(settings: Settings) -> None:
    """No fetch ends for being slow, however busy the machine is."""
    settings.SORA_DOWNLOAD_MIN_BYTES_PER_SECOND = 0


class Dripping:
    """Files that come a byte at a time until they may end."""

    def __init__(self) -> None:
        self.open = 0
        self.ended = threading.Event()

    @contextmanager
    def download(self, *_: object, **__: object) -> Iterator[Content]:
        self.open += 1
        yield Content("video/mp4", 10_000_000, iter(self._bytes, b""))

    def _bytes(self) -> bytes:
        if self.ended.wait(0.05):
            raise errors.Unavailable("reset")
        return b"x"


@contextmanager
def worker() -> Iterator[Callable[..., "Future[None]"]]:
    """The threads of one worker, each with a connection of its own."""

    def run(task: Callable[..., None], arguments: dict[str, Any]) -> None:
        try:
            task(**arguments)
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        yield lambda task, **arguments: pool.submit(run, task, arguments)


def render(make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, count: int) -> list[int]:
    """So many rendered files; the keys of their submissions."""
    for _ in range(count):
        make_job()
        submit_next(upstream)
    for video_id in sora.videos:
        sora.complete(video_id)
    sweep(upstream)
    return list(Submission.objects.filter(state="rendered").values_list("pk", flat=True))


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_endless")
def test_files_that_drip_keep_nothing_else_of_a_worker_from_its_work(
    make_job: Callable[..., Job],
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream = replace(upstream, concurrency=100)
    configure(monkeypatch, upstream)
    pks = render(make_job, upstream, sora, THREADS)
    dripping = Dripping()
    monkeypatch.setattr(sora, "download", dripping.download)
    with worker() as run:
        try:
            fetches = [run(tasks.attend, provider=upstream.name, kind="files") for _ in pks]
            # Those that found no slot have returned, and stay due.
            eventually(lambda: sum(each.done() for each in fetches) == THREADS - 3)
            # The three are about to take theirs.
            due = Submission.objects.filter(state="rendered", due_at__lte=in_database())
            eventually(lambda: due.count() == 5)
            waiting = make_job()
            run(tasks.submit).result(TIMEOUT)
            waiting.refresh_from_db()
            assert waiting.status == "processing", "it is sent"
            Submission.objects.filter(job=waiting).update(due_at=database_now())
            sora.complete(str(waiting.submissions.get().upstream_id))
            run(tasks.sweep).result(TIMEOUT)
            assert waiting.submissions.get().state == "rendered", "it is swept"
            assert dripping.open == 3
        finally:
            dripping.ended.set()
    assert Job.objects.filter(status="failed").count() == 0


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_endless")
def test_files_that_dripped_before_leave_room_for_those_that_come_now(
    make_job: Callable[..., Job],
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream = replace(upstream, concurrency=100)
    configure(monkeypatch, upstream)
    *old, new = render(make_job, upstream, sora, THREADS)
    Submission.objects.filter(pk__in=old).update(attempts=1)
    dripping, whole = Dripping(), sora.download
    with worker() as run:
        try:
            monkeypatch.setattr(sora, "download", dripping.download)
            again = [run(tasks.attend, provider=upstream.name, kind="files_again") for _ in old]
            eventually(lambda: sum(each.done() for each in again) == len(old) - 1)
            monkeypatch.setattr(sora, "download", whole)
            run(tasks.attend, provider=upstream.name, kind="files").result(TIMEOUT)
            assert Submission.objects.get(pk=new).state == "stored"
        finally:
            dripping.ended.set()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_creates_that_hang_keep_no_file_from_being_fetched(
    make_job: Callable[..., Job],
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream = replace(upstream, concurrency=100)
    configure(monkeypatch, upstream)
    [pk] = render(make_job, upstream, sora, 1)
    for _ in range(THREADS):
        make_job()
    answered = threading.Event()
    sora.before = lambda _: answered.wait(TIMEOUT) and None
    with worker() as run:
        try:
            sends = [run(tasks.submit) for _ in range(2 * THREADS)]
            eventually(lambda: sum(each.done() for each in sends) == 2 * THREADS - 2)
            run(tasks.attend, provider=upstream.name, kind="files").result(TIMEOUT)
            assert Submission.objects.get(pk=pk).state == "stored"
        finally:
            answered.set()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("hangs", ["create", "list"])
def test_an_upstream_that_hangs_keeps_nothing_from_being_sent_to_another(
    owner: User, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    slow, well = (
        replace(scripted(catalogue=Catalogue({model: SORA.models["sora-2"]}, model)), name=model)
        for model in ("slow", "well")
    )
    slow = replace(slow, concurrency=100)
    configure(monkeypatch, slow, well)
    client: Any = slow.client
    answered, asked = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> Any:
        asked.set()
        answered.wait(TIMEOUT)

    books.forget_checks()
    if hangs == "create":
        assert books.may_create(slow)
        client.before = hang
    else:
        listed = client.list
        monkeypatch.setattr(client, "list", lambda *given, **more: (hang(), listed(*given, **more))[1])
    for number in range(THREADS):
        ask(VideoRequest(prompt=f"boat {number}", model="slow"), owner=owner, api_key=None)
    job = ask(VideoRequest(prompt="heron", model="well"), owner=owner, api_key=None)

    def is_sent() -> bool:
        run(tasks.submit, provider="well").result(TIMEOUT)
        job.refresh_from_db()
        return job.status == "processing"

    with worker() as run:
        try:
            sends = [run(tasks.submit, provider="slow") for _ in range(THREADS - 2)]
            assert asked.wait(TIMEOUT)
            eventually(lambda: sum(each.done() for each in sends) >= len(sends) - 2)
            eventually(is_sent, seconds=TIMEOUT / 4)
        finally:
            answered.set()


@pytest.mark.django_db
def test_a_sweep_of_a_slow_upstream_ends_within_its_lease(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = replace(upstream, concurrency=100)
    configure(monkeypatch, upstream)
    for _ in range(12):
        make_job()
        submit_next(upstream)
    sora.hidden = set(sora.videos)
    seconds = [0.0]
    retrieve, listed = sora.retrieve, sora.list

    def slowly(ask: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*args: Any, **more: Any) -> Any:
            seconds[0] += 0.9 * upstream.deadline
            return ask(*args, **more)

        return asked

    monkeypatch.setattr(sora, "retrieve", slowly(retrieve))
    monkeypatch.setattr(sora, "list", slowly(listed))
    monkeypatch.setattr("videos.lifecycle.following.sweep.time.monotonic", lambda: seconds[0])
    with shifted(timedelta(seconds=20)):
        for number in (1, 2, 3):
            Provider.objects.update(sweep_due_at=None)
            begun = seconds[0]
            sweep(upstream)
            assert seconds[0] - begun <= upstream.lease
            assert sora.retrieves == number, "each goes on with those that the one before did not reach"
    assert Submission.objects.filter(due_at__gt=database_now() + timedelta(seconds=20)).count() == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("minutes", "length", "state"),
    [(60, 3_000, "rendered"), (5, 3_000, "stored"), (5, 10**9, "rendered")],
    ids=["too slow", "slow, but here before it expires", "too slow to be here before it expires"],
)
def test_a_fetch_that_is_too_slow_ends_and_is_tried_again(
    make_job: Callable[..., Job],
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    minutes: int,
    length: int,
    state: str,
) -> None:
    [pk] = render(make_job, upstream, sora, 1)
    seconds = [0.0]

    def slowly() -> Iterator[bytes]:
        for start in range(0, len(clip()), 100):
            seconds[0] += 6
            yield clip()[start : start + 100]

    @contextmanager
    def slow(*_: object, **__: object) -> Iterator[Content]:
        yield Content("video/mp4", length, slowly())

    monkeypatch.setattr("videos.results.fetch.time.monotonic", lambda: seconds[0])
    monkeypatch.setattr(sora, "download", slow)
    Submission.objects.update(expires_at=database_now() + timedelta(minutes=minutes))
    store(Submission.objects.select_related("job").get(pk=pk), upstream)
    found = Submission.objects.get(pk=pk)
    assert found.state == state
    if state == "rendered":
        assert found.attempts == 1
        assert "too slowly" in found.error_message
        assert seconds[0] < 30


@pytest.mark.parametrize(
    ("threads", "most"),
    [(8, (2, 2, 3)), (16, (4, 4, 6)), (4, (1, 1, 1)), (1, (1, 1, 1))],
)
def test_something_of_a_worker_is_left_whatever_its_size(threads: int, most: tuple[int, int, int]) -> None:
    on_worker_init(SimpleNamespace(concurrency=threads))
    taken = []
    for kind in (Kind.SEND, Kind.CALL, Kind.DOWNLOAD):
        found = slots._opened[kind]
        taken.append(sum(found.take(repeated=False) is not None for _ in range(threads)))
    # None that is taken is left to the tests after this one.
    slots.share_out(THREADS)
    assert tuple(taken) == most
    assert sum(taken) < threads or threads < 4


@pytest.mark.parametrize(
    ("most", "places", "each"),
    [(3, 1, [3]), (2, 2, [1, 1]), (3, 2, [2, 1]), (6, 2, [5, 1]), (2, 3, [1, 1, 0]), (1, 2, [1, 0])],
)
def test_each_upstream_has_a_slot_that_the_ones_before_it_do_not_take(
    most: int, places: int, each: list[int]
) -> None:
    shared = Slots(most, longest=TIMEOUT)
    taken = [
        sum(shared.take(repeated=False, place=place, places=places) is not None for _ in range(most))
        for place in range(places)
    ]
    shared.close()
    assert taken == each


def test_a_slot_is_given_back_also_by_what_fails() -> None:
    slots.share_out(1)
    with pytest.raises(ZeroDivisionError), slot(Kind.DOWNLOAD, "simulator") as free:
        assert free
        with slot(Kind.DOWNLOAD, "simulator") as second:
            assert not second
        raise ZeroDivisionError
    with slot(Kind.DOWNLOAD, "simulator") as free:
        assert free


def test_the_processes_of_a_pool_share_their_slots_and_a_killed_one_frees_its_own() -> None:
    shared = Slots(1, longest=TIMEOUT)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b"1" if shared.take(repeated=False) is not None else b"0")
        time.sleep(60)
        os._exit(0)
    try:
        assert os.read(reader, 1) == b"1"
        assert shared.take(repeated=False) is None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert shared.take(repeated=False) is not None
    shared.close()


def test_the_slot_of_a_frozen_process_is_replaced_once() -> None:
    shared = Slots(1, longest=0.4)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b"1" if shared.take(repeated=False) is not None else b"0")
        time.sleep(60)
        os._exit(0)
    try:
        assert os.read(reader, 1) == b"1"
        os.kill(child, signal.SIGSTOP)
        assert shared.take(repeated=False) is None
        time.sleep(0.5)
        instead = shared.take(repeated=False)
        assert instead is not None
        assert shared.take(repeated=False) is None
        shared.give_back(instead)
        assert shared.take(repeated=False) is not None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    shared.close()
