"""A part that is away, frozen, emptied or doubled costs latency, and nothing else."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
import requests

from tests.e2e.processes import Program, eventually
from tests.faults.books import is_quiet, judge, ledger
from tests.faults.persistent import ask_for
from tests.faults.stack import WEB, Stack, running
from tests.servers import Absent
from tests.timeouts import TIMEOUT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    try:
        folder = tmp_path_factory.mktemp("parts")
        with running(folder, {"LOG_LEVEL": "DEBUG"}, simulator=["--render-seconds", "1"]) as stack:
            yield stack
    except Absent as error:
        pytest.skip(str(error))


@pytest.fixture
def stack(deployment: Stack) -> Iterator[Stack]:
    """The deployment, well and at rest before and after; nothing is wrong in its books."""
    yield deployment
    if deployment.mend():
        eventually(deployment.is_up, "everything up again", within=40)
    deployment.disarm()
    eventually(lambda: is_quiet(deployment), "all work ended", within=60)
    assert judge(deployment, []).faults() == {}


def asks_at_once(stack: Stack, prompt: str) -> str:
    """One request, answered with a promise, without a second try."""
    return stack.caller.ask_for(prompt)


def completed(stack: Stack, *jobs: str) -> bool:
    return all(stack.caller.job(job)["status"] == "completed" for job in jobs)


@contextmanager
def stopped(program: Program) -> Iterator[None]:
    program.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        program.process.send_signal(signal.SIGCONT)


def test_while_postgresql_is_away_callers_are_told_and_workers_wait(stack: Stack) -> None:
    stack.arm("stuck", times=1)
    rendering = asks_at_once(stack, "Under way")
    eventually(lambda: stack.caller.job(rendering)["status"] == "processing", "a render", within=30)
    stack.postgresql.stop()
    address = f"{stack.caller.address}/api/v1/videos"
    for _ in range(3):
        answer = requests.post(address, json={"prompt": "x"}, headers=stack.caller.headers, timeout=TIMEOUT)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["error"]["code"] == "database_unavailable"
    # Some rounds of attempts and sweeps that find no database.
    with pytest.raises(psycopg.OperationalError):
        stack.ask("SELECT 1")
    for name in ("worker-threads", "worker-prefork"):
        # That the tasks fail is logged as an error once a minute, and at DEBUG for each of them.
        said = stack.parts[name].output.count('"failed": true')
        eventually(
            lambda name=name, said=said: stack.parts[name].output.count('"failed": true') > said,
            f"a task of {name} without a database",
            within=20,
        )
    stack.postgresql.start()
    job = ask_for(stack, "After the restart")
    (upstream_id,) = stack.ask("SELECT upstream_id FROM videos_submission WHERE job_id = %s", rendering)[0]
    assert stack.caller.job(rendering)["status"] == "processing", "nothing failed for it"
    eventually(lambda: completed(stack, job), "a job of after the restart", within=30)
    stack.arm("cancelled", video_id=upstream_id)
    # The same processes: none had to be started again.
    assert stack.mend() == []


def test_redis_away_stops_no_caller_and_work_goes_on_when_it_is_back(stack: Stack) -> None:
    stack.redis.stop(signal.SIGKILL)
    jobs = [asks_at_once(stack, f"Without a broker {number}") for number in range(5)]
    stack.redis.start()
    eventually(lambda: completed(stack, *jobs), "the jobs", within=60)
    assert stack.mend() == []


def test_a_frozen_redis_stops_no_caller(stack: Stack) -> None:
    stack.redis.send(signal.SIGSTOP)
    try:
        # Answered while it is frozen: it is set going only afterwards.
        jobs = [asks_at_once(stack, f"Frozen broker {number}") for number in range(5)]
        assert all(stack.caller.job(job)["status"] in {"pending", "processing", "completed"} for job in jobs)
    finally:
        stack.redis.send(signal.SIGCONT)
    eventually(lambda: completed(stack, *jobs), "the jobs", within=60)
    assert stack.mend() == []


def test_a_flushed_redis_loses_no_job(stack: Stack) -> None:
    jobs = []
    for number in range(3):
        jobs.append(asks_at_once(stack, f"Flushed broker {number}"))
        stack.flush_redis()
    eventually(lambda: completed(stack, *jobs), "the jobs", within=60)


def test_a_redis_that_becomes_a_replica_ends_no_worker(stack: Stack) -> None:
    """As in a failover, before the addresses point to the new primary."""
    with redis.Redis.from_url(stack.settings["REDIS_URL"]) as operator:
        operator.config_resetstat()
        # Of a primary that is not there: it refuses each write at once, and answers all reads.
        operator.replicaof("127.0.0.1", 1)

        def refused() -> int:
            return int(operator.info("errorstats").get("errorstat_READONLY", {}).get("count", 0))

        try:
            jobs = [asks_at_once(stack, f"Replica {number}") for number in range(3)]
            eventually(lambda: refused() >= 20, "everybody was refused, and tried again", within=20)
        finally:
            operator.replicaof("NO", "ONE")
    eventually(lambda: completed(stack, *jobs), "the jobs", within=60)
    assert stack.mend() == [], "none had to be started again"


def test_work_goes_on_without_redis_under_manage_py_work(stack: Stack, tmp_path: Path) -> None:
    stack.redis.stop()
    worker = Program(["manage.py", "work", "--threads", "2"], stack.settings, tmp_path / "work.log")
    try:
        job = asks_at_once(stack, "Work without a broker")
        eventually(lambda: completed(stack, job), "the job", within=30)
        # PostgreSQL may go under it as well.
        stack.postgresql.stop(signal.SIGQUIT)
        eventually(lambda: "database does not answer" in worker.output, "its own word", within=20)
        stack.postgresql.start()
        job = ask_for(stack, "Work after a restart")
        eventually(lambda: completed(stack, job), "the job", within=30)
        worker.process.terminate()
        assert worker.ends(within=20) == 0, worker.report()
    finally:
        worker.kill()
        stack.redis.start()


def test_two_beats_do_nothing_twice(stack: Stack) -> None:
    """All other tests have two as well; here one is frozen, and its attempts come late and all at once."""
    with stopped(stack.parts["beat-1"]):
        jobs = [asks_at_once(stack, f"Two beats {number}") for number in range(3)]
        eventually(lambda: completed(stack, *jobs), "the jobs", within=30)
    jobs = [asks_at_once(stack, f"Two beats again {number}") for number in range(3)]
    eventually(lambda: completed(stack, *jobs), "the jobs", within=30)
    assert len([entry for entry in ledger(stack) if entry["prompt"].startswith("Two beats")]) == 6


@pytest.mark.parametrize(
    "name", ["worker-threads", pytest.param("worker-prefork", marks=pytest.mark.nightly)]
)
def test_a_worker_that_is_told_to_end_finishes_what_it_has_begun(stack: Stack, name: str) -> None:
    other = "worker-prefork" if name == "worker-threads" else "worker-threads"
    # Only the worker under test takes work; a create that it has sent is answered late.
    stack.parts[other].kill()
    stack.arm("slow", operation="create", seconds=1.5, times=1)
    before = len(ledger(stack))
    job = asks_at_once(stack, f"Sent by {name}")
    eventually(lambda: len(ledger(stack)) > before, "the create upstream", within=20)
    assert stack.ask("SELECT state FROM videos_submission WHERE job_id = %s", job) == [("sending",)]
    stack.parts[name].process.terminate()
    assert stack.parts[name].ends(within=30) == 0
    # Nobody else could have recorded it.
    assert stack.ask("SELECT state FROM videos_submission WHERE job_id = %s", job) == [("rendering",)]
    assert sorted(stack.mend()) in ([name], sorted([name, other]))


def test_what_a_worker_cannot_finish_is_left_to_its_lease(stack: Stack) -> None:
    """The supervisor's patience ends before the upstream answers."""
    for name in ("worker-threads", "worker-prefork"):
        stack.arm("slow", operation="create", seconds=1.9, times=1)
        before = len(ledger(stack))
        job = asks_at_once(stack, f"Cut short under {name}")
        eventually(lambda before=before: len(ledger(stack)) > before, "the create upstream", within=20)
        for worker in ("worker-threads", "worker-prefork"):
            stack.parts[worker].process.terminate()
            stack.kill(worker)
        eventually(lambda job=job: completed(stack, job), "the job", within=40)
        assert len(ledger(stack)) == before + 1


def test_a_web_server_that_is_told_to_end_answers_what_it_has_taken(stack: Stack) -> None:
    answers: list[str] = []
    taken = threading.Event()

    def ask() -> None:
        for number in range(50):
            try:
                answers.append(asks_at_once(stack, f"The web server ends {number}"))
            except requests.ConnectionError:
                return
            taken.set()

    before = {str(pk) for (pk,) in stack.ask("SELECT id FROM videos_job")}
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        assert taken.wait(TIMEOUT)
        stack.parts[WEB].process.terminate()
        asking.result(TIMEOUT)
        assert stack.parts[WEB].ends(within=40) == 0
    stack.mend()
    eventually(stack.is_up, "the web server", within=40)
    # Connections that it had not taken may be cut off; a request that it had was carried out and answered.
    assert set(answers) == {str(pk) for (pk,) in stack.ask("SELECT id FROM videos_job")} - before
