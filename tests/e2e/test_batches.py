"""Batches in a deployment of separate processes over PostgreSQL and Redis; the upstream's own books judge."""

import csv
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.e2e.caller import ledger
from tests.e2e.processes import eventually
from tests.faults.stack import Stack, running
from tests.servers import Absent
from tests.timeouts import TIMEOUT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ENDED = {"completed", "partial", "failed", "cancelled"}
_RENDER_SECONDS = 2
_WITHIN = 60


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = ["--render-seconds", str(_RENDER_SECONDS)]
    try:
        with running(tmp_path_factory.mktemp("batches"), simulator=options) as deployment:
            yield deployment
    except Absent as error:
        pytest.skip(str(error))


def call(stack: Stack, method: str, path: str, expect: int = 200, **body: Any) -> Any:
    address = f"{stack.settings['TAKEONE_URL']}/api/v1{path}"
    headers = {**stack.caller.headers, **body.pop("headers", {})}
    answer = requests.request(method, address, headers=headers, timeout=TIMEOUT, **body)
    assert answer.status_code == expect, answer.text
    return answer


def create(stack: Stack, name: str, count: int, **more: Any) -> str:
    videos = [{"prompt": f"{name} {number}", "ref": str(number)} for number in range(count)]
    answer = call(stack, "POST", "/videos/batch", 201, json={"videos": videos, "batchName": name, **more})
    assert answer.json()["data"]["total"] == count
    return str(answer.json()["data"]["batchId"])


def batch(stack: Stack, batch_id: str) -> dict[str, Any]:
    return dict(call(stack, "GET", f"/batches/{batch_id}").json()["data"])


def ended(stack: Stack, batch_id: str) -> dict[str, Any]:
    """The batch once its end is recorded."""
    eventually(lambda: batch(stack, batch_id)["completedAt"], f"the end of {batch_id}", within=_WITHIN)
    found = batch(stack, batch_id)
    assert found["status"] in ENDED
    # Said once a round, whoever saw it.
    said = stack.ask(
        "SELECT round FROM batches_batchevent WHERE batch_id = %s AND kind = 'completed'", batch_id
    )
    assert [row[0] for row in said] == list(range(1, found["round"] + 1))
    return found


def paid(stack: Stack, name: str) -> list[dict[str, Any]]:
    entries = ledger(stack.settings["SORA_BASE_URL"])
    return [entry for entry in entries if entry["prompt"].startswith(f"{name} ")]


def finish_another(stack: Stack) -> None:
    """Has one more video made, so that workers have looked for work meanwhile."""
    stack.caller.follow(stack.caller.ask_for("another"), within=_WITHIN)


@contextmanager
def watched(stack: Stack, name: str) -> Iterator[list[int]]:
    """How many videos of a batch run upstream, looked at there again and again."""
    seen: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            listed = requests.get(
                f"{stack.settings['SORA_BASE_URL']}/videos?limit=100",
                headers={"Authorization": "Bearer a-key"},
                timeout=TIMEOUT,
            ).json()["data"]
            running = [video for video in listed if video["status"] in {"queued", "in_progress"}]
            seen.append(sum((video["prompt"] or "").startswith(f"{name} ") for video in running))
            time.sleep(0.03)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_three_videos_are_made_side_by_side(stack: Stack) -> None:
    with watched(stack, "three") as seen:
        batch_id = create(stack, "three", 3, metadata={"createdBy": "user123"})
        assert batch(stack, batch_id)["status"] in {"pending", "processing"}
        found = ended(stack, batch_id)
    assert (found["status"], found["metadata"]) == ("completed", {"createdBy": "user123"})
    assert found["progress"]["percentage"] == 100
    assert max(seen) == 3
    assert len(paid(stack, "three")) == 3
    for job in found["jobs"]:
        assert stack.caller.get(job["result"]["videoUrl"]).content[4:8] == b"ftyp"


@pytest.mark.nightly
def test_the_largest_batch_never_runs_more_at_a_time_than_it_may(stack: Stack) -> None:
    with watched(stack, "ten") as seen:
        found = ended(stack, create(stack, "ten", 10))
    assert (found["status"], found["progress"]["completed"], found["concurrency"]) == ("completed", 10, 3)
    assert max(seen) == 3
    assert len(paid(stack, "ten")) == 10
    too_many = {"videos": [{"prompt": "eleven"}] * 11}
    refused = call(stack, "POST", "/videos/batch", 400, json=too_many)
    assert "more than 10" in refused.json()["error"]["message"]


def test_two_that_fail_of_five_leave_a_partial_batch_of_which_they_are_retried(stack: Stack) -> None:
    stack.arm("failed", operation="create", times=2)
    batch_id = create(stack, "five", 5)
    found = ended(stack, batch_id)
    assert found["status"] == "partial"
    counts = {name: found["progress"][name] for name in ("total", "completed", "failed", "pending")}
    assert counts == {"total": 5, "completed": 3, "failed": 2, "pending": 0}
    assert call(stack, "POST", f"/batches/{batch_id}/retry").json()["data"]["retried"] == 2
    found = ended(stack, batch_id)
    assert (found["status"], found["round"]) == ("completed", 2)
    assert len(paid(stack, "five")) == 7


def test_a_batch_cancelled_while_it_renders_sends_nothing_more(stack: Stack) -> None:
    # Neither ends before it is told to, however long this test is kept waiting.
    stack.arm("stuck", operation="create", times=2)
    batch_id = create(stack, "cancelled", 8, concurrency=2)
    eventually(
        lambda: batch(stack, batch_id)["progress"]["processing"] == 2, "two that render", within=_WITHIN
    )
    answer = call(stack, "DELETE", f"/batches/{batch_id}").json()["data"]
    summary = answer["summary"]
    assert (summary["total"], summary["stopped"], summary["notStopped"]) == (8, 6, 2)
    assert summary["total"] == sum(summary.values()) - summary["total"]
    for video in paid(stack, "cancelled"):
        stack.arm("cancelled", video_id=video["id"])
    found = ended(stack, batch_id)
    assert found["status"] == "cancelled"
    finish_another(stack)
    assert len(paid(stack, "cancelled")) == 2
    assert (
        call(stack, "DELETE", f"/batches/{batch_id}", 409).json()["error"]["code"] == "batch_not_cancellable"
    )


def test_a_file_is_carried_out_paused_resumed_and_told_of_in_a_manifest(stack: Stack) -> None:
    lines = "".join(f"file {number},4,row {number}\n" for number in range(9))
    kind = {"Content-Type": "text/csv"}
    upload = f"prompt,duration,ref\n{lines}"
    estimate = call(stack, "POST", "/batches/estimate", data=upload, headers=kind).json()["data"]
    answer = call(
        stack, "POST", "/batches?concurrency=4&batchName=file", 201, data=upload, headers=kind
    ).json()
    batch_id = answer["data"]["batchId"]
    assert answer["data"]["estimatedCost"] == estimate["estimatedCost"] == "3.60"
    eventually(lambda: len(paid(stack, "file")) >= 4, "four renders", within=_WITHIN)
    assert call(stack, "POST", f"/batches/{batch_id}/pause").json()["data"]["paused"] is True
    eventually(
        lambda: not batch(stack, batch_id)["progress"]["processing"], "no more renders", within=_WITHIN
    )
    sent = len(paid(stack, "file"))
    assert 4 <= sent < 9
    finish_another(stack)
    assert len(paid(stack, "file")) == sent
    with watched(stack, "file") as seen:
        call(stack, "POST", f"/batches/{batch_id}/resume")
        found = ended(stack, batch_id)
    assert (found["status"], max(seen) <= 4) == ("completed", True)
    assert len(paid(stack, "file")) == 9
    manifest = call(stack, "GET", f"/batches/{batch_id}/manifest").text
    rows = list(csv.DictReader(io.StringIO(manifest)))
    assert [row["ref"] for row in rows] == [f"row {number}" for number in range(9)]
    assert {(row["status"], row["settledCost"]) for row in rows} == {("completed", "0.40")}
    # What this deployment has measured by now is told to the next that waits.
    waiting = create(stack, "foretold", 1)
    (job,) = batch(stack, waiting)["jobs"]
    assert job["estimatedCompletionAt"] is not None
    ended(stack, waiting)


def test_a_worker_killed_with_a_batch_under_way_loses_and_doubles_nothing(stack: Stack) -> None:
    batch_id = create(stack, "killed", 6)
    for name in ("worker-threads", "worker-prefork"):
        eventually(lambda: paid(stack, "killed"), "a render", within=_WITHIN)
        stack.kill(name)
    found = ended(stack, batch_id)
    assert (found["status"], found["progress"]["completed"]) == ("completed", 6)
    assert len(paid(stack, "killed")) == 6
