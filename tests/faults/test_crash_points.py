"""SIGKILL at each boundary between a commit and a call that leaves the process, by name."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.processes import eventually, run
from tests.faults.books import is_quiet, judge
from tests.faults.persistent import ask_for, insist
from tests.faults.stack import Stack, running
from tests.faults.waiting import wait
from tests.servers import Absent

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

_SECRET = "whsec_Y3Jhc2ggcG9pbnRz"
_numbers = count(1)


@dataclass
class Wreck:
    """A deployment with crash points, and what it has promised so far."""

    stack: Stack
    crashes: Path
    promised: list[str]
    retried: Counter[str]

    def arm(self, *points: str) -> None:
        for point in points:
            (self.crashes / "armed" / point).touch()

    def armed(self) -> set[str]:
        return {path.name for path in (self.crashes / "armed").iterdir()}

    def left(self, count: int, within: float) -> None:
        """Waits until no more than so many points are armed."""
        ends = time.monotonic() + within
        while len(self.armed()) > count:
            if time.monotonic() >= ends:
                pytest.fail(f"Not killed within {within:g} s.\n{self.situation()}")
            time.sleep(0.05)

    def situation(self) -> str:
        """What is armed, open and blocked."""
        rows = self.stack.ask(
            "SELECT job_id, number, state, due_at - now(), cost_state, error_message FROM videos_submission"
        )
        live = [row for row in rows if row[2] not in {"stored", "absent", "dropped", "unsent"}]
        waiting = self.stack.ask(
            "SELECT id, status, due_at - now(), held FROM videos_job WHERE status = 'pending'"
        )
        providers = self.stack.ask("SELECT row_to_json(provider) FROM upstreams_provider provider")
        return f"armed: {sorted(self.armed())}\n{live}\n{waiting}\n{providers}"

    def passed(self) -> set[str]:
        return {path.name for path in (self.crashes / "passed").iterdir()}

    def ask(self, count: int = 1, **request: object) -> list[str]:
        jobs = [ask_for(self.stack, f"A boat, number {next(_numbers)}", **request) for _ in range(count)]
        self.promised += jobs
        return jobs

    def status(self, job: str) -> str:
        return str(insist(self.stack, "GET", f"/{job}").json()["data"]["status"])

    def state(self, job: str) -> str:
        rows = self.stack.ask("SELECT state FROM videos_submission WHERE job_id = %s ORDER BY number", job)
        return str(rows[-1][0]) if rows else ""

    def upstream_id(self, job: str) -> str:
        rows = self.stack.ask(
            "SELECT upstream_id FROM videos_submission WHERE job_id = %s ORDER BY number", job
        )
        return str(rows[-1][0] or "") if rows else ""

    def rendering(self, count: int) -> list[str]:
        """Asks for jobs, waits until all of them were sent, and returns their ids upstream."""
        jobs = self.ask(count)
        return [self.wait_for_id(job, within=30) for job in jobs]

    def wait_for_id(self, job: str, within: float) -> str:
        """The id of its video, once it has one."""
        ends = time.monotonic() + within
        while not self.upstream_id(job):
            if time.monotonic() >= ends:
                pytest.fail(f"{job} has no id after {within:g} s.\n{self.situation()}")
            time.sleep(0.05)
        return self.upstream_id(job)

    def settle(self, within: float) -> None:
        """Waits until every armed point has killed its process and all work has ended."""

        def at_rest() -> bool:
            self.stack.mend()
            return not self.armed() and is_quiet(self.stack)

        try:
            eventually(at_rest, "all points passed and all jobs ended", within=within, every=0.3)
        except pytest.fail.Exception as failure:
            pytest.fail(f"{failure}\n{self.situation()}")
        assert judge(self.stack, self.promised, self.retried).faults() == {}


@pytest.fixture(scope="module")
def wreck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wreck]:
    folder = tmp_path_factory.mktemp("crashes")
    for name in ("armed", "passed"):
        (folder / name).mkdir()
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.faults.armed.settings",
        "TAKEONE_CRASH_FOLDER": str(folder),
        "SORA_WEBHOOK_SECRET": _SECRET,
        # Later than a render's end, so that its webhook is of use.
        "SORA_SYNC_SECONDS_MIN": "3",
    }
    try:
        with running(folder, settings, simulator=["--render-seconds", "2"]) as stack:
            wreck = Wreck(stack, folder, [], Counter())
            yield wreck
            # What the processes have passed, and no list of ours, is what there is.
            known = {*_QUIET, *_WORK} | {point for points in SCENARIOS.values() for point in points}
            assert wreck.passed() - known == set(), "boundaries without a kill"
    except Absent as error:
        pytest.skip(str(error))


def around(*calls: str) -> tuple[str, ...]:
    """The points before and after each of these calls."""
    names = (call.rpartition(".") for call in calls)
    return tuple(f"{journey}.{side}-{call}" for journey, _, call in names for side in ("before", "after"))


# Of no journey: made only after a silence, to be written down. Nothing follows from it.
_QUIET = around("none.probe")


# A kill makes all creates that are under way unknown, and of one that is absent for the second time a person
# decides. So no create is under way while a second kill is armed that it may meet.
def sending(wreck: Wreck) -> None:
    """Creates that a kill keeps from being posted, and others beside them."""
    wreck.ask(5)


def answered(wreck: Wreck) -> None:
    """Creates whose answers a kill takes away, and others beside them."""
    wreck.ask(5)


def looking(wreck: Wreck) -> None:
    """A create that was made without an answer is found; those that were not made are sent again."""
    for fault, left in (("created_then_drop", 2), ("refuse", 1), ("refuse", 0)):
        wreck.stack.arm(fault, operation="create", times=1)
        (job,) = wreck.ask()
        wreck.left(left, within=120)
        # Or its next attempt would meet the next fault.
        wreck.wait_for_id(job, within=120)


def comparing(wreck: Wreck) -> None:
    """Before its first create, a process compares the books with the list."""
    for name in wreck.stack.commands():
        if name.startswith("worker-"):
            wreck.stack.kill(name)
    wreck.ask()


def following(wreck: Wreck) -> None:
    """Renders that are followed by the list; those that complete together are recorded together."""
    # So one after the other.
    for left in (1, 0):
        wreck.rendering(1)
        wreck.left(left, within=60)


# What the processes do by themselves, with a job for each kill and some to spare.
def work(wreck: Wreck) -> None:
    """Fetching, auditing, drawing previews."""
    stack = wreck.stack
    stack.arm("error", operation="content", status=503, times=None)
    wreck.rendering(12)
    wreck.arm(*_WORK)
    stack.disarm()
    # A process that is killed after the fault and before the question that it leads to has used it up.
    stack.arm("not_ready", times=8)


def wrong_address(wreck: Wreck) -> None:
    """A 404 for a create asks for the list before it blames the job."""
    # One after the other: those that are answered together ask once.
    for left in (1, 0):
        wreck.stack.arm("error", operation="create", status=404, times=1)
        wreck.ask()
        wreck.left(left, within=30)


def wrong_key(wreck: Wreck) -> None:
    """A 401 pauses all work until a probe succeeds."""
    wreck.stack.arm("error", operation="create", status=401, times=1)
    wreck.ask(2)


def cancelling(wreck: Wreck) -> None:
    """Renders whose jobs are cancelled before their files are fetched are deleted upstream."""
    wreck.stack.arm("error", operation="content", status=503, times=None)
    jobs = wreck.ask(3)
    for job in jobs:
        eventually(lambda job=job: wreck.state(job) == "rendered", "a render", within=30)
    for job in jobs:
        # The kill takes the answer away: the caller asks again, and is told that it is cancelled already.
        assert insist(wreck.stack, "DELETE", f"/{job}").status_code in {200, 409}
    wreck.stack.disarm()
    assert {wreck.status(job) for job in jobs} == {"cancelled"}


def asking(wreck: Wreck) -> None:
    """Creates, retries and questions of callers, whose web process dies under them."""
    stack = wreck.stack
    stack.arm("stuck", times=3)
    failing, asked_after, spare = wreck.ask(3)
    ids = {job: wreck.wait_for_id(job, within=30) for job in (failing, asked_after, spare)}
    stack.arm("failed", video_id=ids[failing])
    eventually(lambda: wreck.status(failing) == "failed", "a failed job", within=30)
    wreck.retried[failing] += 1
    again = insist(stack, "POST", f"/{failing}/retry")
    assert again.status_code == 200, again.text
    assert insist(stack, "POST", f"/{asked_after}/sync").status_code == 200
    for job in (asked_after, spare):
        stack.arm("cancelled", video_id=ids[job])


def hinting(wreck: Wreck) -> None:
    """Webhooks of the upstream, which it sends again when their receiver dies."""
    stack = wreck.stack
    stack.webhook(f"{stack.settings['TAKEONE_URL']}/hooks/sora", _SECRET)
    ends = time.monotonic() + 100

    def one_less(armed: int) -> bool:
        stack.mend()
        return len(wreck.armed()) < armed

    # Of one that a worker has looked at by itself before its webhook came, nothing is made due.
    while (armed := len(wreck.armed())) and time.monotonic() < ends:
        wreck.rendering(1)
        wait(lambda armed=armed: one_less(armed), 8)


_WORK = (
    *around("audit.list", "dispatch.publish"),
    *around("store.download", "store.save", "store.retrieve", "draw.save"),
)

# Those that are armed when the scenario begins; `work` arms its own.
SCENARIOS: dict[Callable[[Wreck], None], tuple[str, ...]] = {
    sending: ("send.before-create",),
    answered: ("send.after-create",),
    looking: around("reconcile.list", "reconcile.hint"),
    comparing: around("books.list"),
    following: around("follow.list", "follow.hint"),
    work: (),
    wrong_address: around("send.probe"),
    wrong_key: around("dispatch.probe"),
    cancelling: around("cancel.hint", "cancel.retrieve", "cancel.delete"),
    asking: around("once.hint", "follow.retrieve", "hints.publish"),
    hinting: around("notification.hint"),
}


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(each, id=each.__name__, marks=[pytest.mark.nightly] if each is wrong_address else [])
        for each in SCENARIOS
    ],
)
def test_a_kill_at_any_boundary_loses_nothing_and_pays_nothing_twice(
    wreck: Wreck, scenario: Callable[[Wreck], None]
) -> None:
    wreck.arm(*SCENARIOS[scenario])
    began = time.monotonic()
    try:
        scenario(wreck)
        wreck.settle(within=120)
    finally:
        # What a scenario leaves behind would fail all those after it as well.
        wreck.stack.disarm()
        for left in (wreck.crashes / "armed").iterdir():
            left.unlink()
    print(f"{scenario.__name__}: {time.monotonic() - began:.1f} s")


def test_production_settings_have_no_crash_points(tmp_path: Path) -> None:
    (tmp_path / "armed").mkdir()
    (tmp_path / "passed").mkdir()
    (tmp_path / "armed" / "none.before-publish").touch()
    program = (
        "from django.apps import apps; from videos.queue.wake import publish; publish('dispatch');"
        "print([app.name for app in apps.get_app_configs() if 'tests' in app.name])"
    )
    settings = {
        "TAKEONE_VAR": str(tmp_path),
        "TAKEONE_CRASH_FOLDER": str(tmp_path),
        "TAKEONE_EMBEDDED": "1",
    }
    assert run(["manage.py", "shell", "-v", "0", "-c", program], settings).strip() == "[]"
    armed = settings | {"DJANGO_SETTINGS_MODULE": "tests.faults.armed.settings"}
    with pytest.raises(pytest.fail.Exception, match="ended with -9"):
        run(["manage.py", "shell", "-v", "0", "-c", program], armed)
