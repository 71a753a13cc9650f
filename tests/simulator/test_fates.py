"""What the faults hold in store for a job: how it runs, how it ends, where it is seen."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.simulator.process import Simulator, error, eventually


def test_a_stuck_job_stays_at_99(sim: Simulator) -> None:
    sim.arm("stuck")
    video_id = sim.made()
    video = sim.retrieve(video_id)
    assert (video["status"], video["progress"], video["completed_at"]) == ("in_progress", 99, None)
    assert error(sim.call("DELETE", f"/v1/videos/{video_id}"))[0] == 400


MODERATION = {"code": "moderation_blocked", "message": "Your request was blocked by our moderation system."}


@pytest.mark.parametrize("shape", ["out of memory", {"code": 500, "message": "x"}, {"message": "x"}, None, 7])
def test_a_failed_job_has_an_error_of_any_shape(sim: Simulator, shape: Any) -> None:
    sim.arm("failed", error=shape)
    video = sim.retrieve(sim.made("A heron that failed"))
    assert (video["status"], video["error"], video["completed_at"]) == ("failed", shape, None)
    assert not any(entry["billed"] for entry in sim.paid("A heron that failed"))


def test_a_job_fails_in_band_by_moderation(sim: Simulator) -> None:
    sim.arm("failed")
    answer = sim.create()
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (200, "queued", None)
    video_id = answer.json()["id"]
    assert sim.retrieve(video_id)["error"] == MODERATION
    assert error(sim.content(video_id))[0] == 404
    assert sim.call("DELETE", f"/v1/videos/{video_id}").json()["deleted"] is True


def test_failed_jobs_are_billed_where_that_is_the_rule(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0", "--bill-failed")
    simulator.arm("failed")
    simulator.made("A heron")
    assert [entry["billed"] for entry in simulator.paid("A heron")] == [True]


def test_an_unknown_status_is_shown_until_the_job_ends_or_for_ever(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0.3")
    simulator.arm("unknown_status")
    passing = simulator.create().json()
    assert passing["status"] == "processing"
    simulator.arm("unknown_status", status="NOT_START", ends=False)
    staying = simulator.made()
    assert simulator.finished(passing["id"])["progress"] == 100
    assert simulator.retrieve(staying)["status"] == "NOT_START"


@pytest.mark.parametrize(
    ("fault", "params", "status"),
    [
        ("expired", {}, "expired"),
        ("cancelled", {}, "cancelled"),
        ("cancelled", {"status": "canceled"}, "canceled"),
    ],
)
def test_other_ends_are_shown_and_not_billed(
    sim: Simulator, fault: str, params: dict[str, str], status: str
) -> None:
    sim.arm(fault, **params)
    video_id = sim.made(f"A heron that is {status}")
    assert sim.retrieve(video_id)["status"] == status
    assert not any(entry["billed"] for entry in sim.paid(f"A heron that is {status}"))


def test_a_lagging_list_shows_new_jobs_later(sim: Simulator) -> None:
    sim.arm("lagging_list", seconds=0.4)
    video_id = sim.made()
    assert video_id not in sim.ids()
    assert sim.retrieve(video_id)["id"] == video_id
    eventually(lambda: video_id in sim.ids(), "the list has caught up")


def test_a_vanished_id_is_not_found_and_perhaps_not_listed(sim: Simulator) -> None:
    sim.arm("vanished")
    listed = sim.made()
    sim.arm("vanished", listed=False)
    gone = sim.made()
    for video_id in (listed, gone):
        assert error(sim.call("GET", f"/v1/videos/{video_id}"))[0] == 404
        assert error(sim.content(video_id))[0] == 404
    ids = sim.ids()
    assert listed in ids
    assert gone not in ids


def test_a_fate_comes_at_once_to_a_job_that_exists(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "600")
    failed, gone, stuck = (simulator.made() for _ in range(3))
    assert simulator.arm("failed", video_id=failed)["status"] == "failed"
    simulator.arm("vanished", video_id=gone)
    simulator.arm("stuck", video_id=stuck)
    simulator.kill()
    again = start("--tiny", "--render-seconds", "600")
    assert again.retrieve(failed)["status"] == "failed"
    assert error(again.call("GET", f"/v1/videos/{gone}"))[0] == 404
    assert again.retrieve(stuck)["progress"] == 99
    assert (
        error(again.call("POST", "/_simulator/faults", json={"fault": "failed", "video_id": "video_none"}))[0]
        == 404
    )


def test_a_fate_and_a_fault_of_the_answer_meet_in_one_call(sim: Simulator) -> None:
    sim.arm("failed")
    sim.arm("created_then_500")
    assert sim.create("A heron of two faults").status_code == 500
    (entry,) = sim.paid("A heron of two faults")
    assert entry["status"] == "failed"
