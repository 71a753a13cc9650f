"""What only one of the other servers does."""

import base64
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from simulator.state.schema import SCHEMA
from tests.simulator.process import Simulator

Start = Callable[..., Simulator]


def begun(start: Start, name: str, *options: str) -> Simulator:
    return start("--profile", name, "--tiny", "--render-seconds", "600", *options)


def test_trtllm_answers_202_with_its_own_keys_and_stays_queued(start: Start) -> None:
    simulator = begun(start, "trtllm")
    answer = simulator.create("A boat", seconds=2.5, fps=8)
    assert answer.status_code == 202
    video = answer.json()
    assert (video["duration"], video["fps"], video["size"]) == (2.5, 8.0, "1280x720")
    assert "seconds" not in video
    assert (video["status"], video["progress"], video["error"]) == ("queued", None, None)
    simulator.arm("stuck", video_id=video["id"])
    assert simulator.retrieve(video["id"])["status"] == "queued"
    simulator.arm("failed", video_id=video["id"], error={"code": "x", "message": "no memory"})
    assert simulator.retrieve(video["id"])["error"] == "no memory"


def test_trtllm_puts_its_errors_at_the_top_and_lists_all_oldest_first(start: Start) -> None:
    simulator = begun(start, "trtllm")
    made = [simulator.create().json()["id"] for _ in range(2)]
    page = simulator.call("GET", "/v1/videos?limit=1&order=desc").json()
    assert set(page) == {"object", "data"}
    assert [video["id"] for video in page["data"]] == made
    unknown = simulator.call("GET", "/v1/videos/none")
    assert unknown.status_code == 404
    assert unknown.json() == {
        "object": "error",
        "message": "Video none not found",
        "type": "NotFoundError",
        "param": None,
        "code": 404,
    }
    early = simulator.content(made[0])
    assert early.status_code == 400
    assert early.json()["message"] == f"Video {made[0]} is not ready (status: queued)"
    assert simulator.create(nonsense=1).status_code == 422
    assert simulator.call("DELETE", f"/v1/videos/{made[0]}").json() == {"deleted": True}


def test_azure_limits_what_runs_and_knows_its_deployment_only(start: Start) -> None:
    simulator = begun(start, "azure", "--model", "my-sora")
    made = simulator.create(model="my-sora").json()
    assert len(made["id"]) == len("video_") + 32
    other = simulator.create(model="sora-2")
    assert (other.status_code, other.json()["error"]["type"]) == (404, "video_generation_user_error")
    assert simulator.create(model="my-sora", seconds="16").status_code == 400
    assert simulator.create(model="my-sora").status_code == 200
    busy = simulator.create(model="my-sora")
    assert (busy.status_code, busy.json()["error"]["message"]) == (429, "Too many running tasks")
    assert simulator.call("POST", "/v1/videos/edits", json={}).status_code in (404, 405)


def test_azure_takes_two_creates_a_minute_and_keeps_a_video_for_a_day(start: Start) -> None:
    simulator = start("--profile", "azure", "--tiny", "--render-seconds", "0")
    made = [simulator.made() for _ in range(2)]
    assert simulator.create().status_code == 429
    video = simulator.finished(made[0])
    assert video["expires_at"] == video["created_at"] + 86_400
    simulator.call("DELETE", "/_simulator/jobs")
    assert simulator.create().status_code == 200


def test_litellm_wraps_ids_and_needs_to_know_the_provider(start: Start) -> None:
    simulator = begun(start, "litellm")
    video_id = simulator.create(model="sora-2").json()["id"]
    inner = base64.b64decode(video_id.removeprefix("video_")).decode()
    assert inner.startswith("litellm:custom_llm_provider:openai;model_id:sora-2;video_id:video_")
    assert 250 <= len(video_id) <= 300
    assert simulator.call("GET", "/v1/videos").status_code == 400
    assert simulator.ids(custom_llm_provider="openai") == [video_id]
    wrapped = simulator.content(video_id)
    assert wrapped.status_code == 404
    assert "OpenAIException" in wrapped.json()["error"]["message"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 422, "message": "x"}, 422),
        ({"code": "HTTPException", "message": "400: bad size"}, 400),
        ({"code": "ValueError", "message": "x"}, 500),
        ("no memory", 500),
    ],
)
def test_vllm_omni_gives_a_failed_video_the_status_of_its_error(
    start: Start, error: Any, status: int
) -> None:
    simulator = begun(start, "vllm-omni")
    form = {"prompt": (None, "A boat")}
    video_id = simulator.call("POST", "/v1/videos", files=form).json()["id"]
    simulator.arm("failed", video_id=video_id, error=error)
    answer = simulator.call("GET", f"/v1/videos/{video_id}")
    assert answer.status_code == status
    assert (answer.json()["status"], answer.json()["error"]["code"]) == ("failed", status)


def test_a_control_says_what_it_refuses_in_one_form_under_each_profile(start: Start) -> None:
    simulator = begun(start, "sglang")
    refused = simulator.call("POST", "/_simulator/faults", json={"fault": "none"})
    assert (refused.status_code, set(refused.json())) == (400, {"error"})


def test_the_list_may_loop_under_a_profile(start: Start) -> None:
    simulator = begun(start, "sglang")
    made = simulator.made()
    simulator.arm("page_loop")
    page = simulator.call("GET", f"/v1/videos?after={made}").json()
    assert ([video["id"] for video in page["data"]], page["has_more"]) == ([made], True)


def test_a_state_file_of_an_earlier_version_is_taken_up(start: Start, tmp_path: Path) -> None:
    state = tmp_path / "old.sqlite3"
    with closing(sqlite3.connect(state)) as db:
        db.executescript(SCHEMA.replace(",\n    asked TEXT NOT NULL DEFAULT '{}'", ""))
        assert "asked" not in {row[1] for row in db.execute("PRAGMA table_info(jobs)")}
    simulator = start("--tiny", "--render-seconds", "0", state=state)
    assert simulator.finished(simulator.made())["status"] == "completed"


def test_sglang_wants_a_picture_if_its_model_begins_with_one(start: Start) -> None:
    simulator = begun(start, "sglang", "--model", "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers")
    without = simulator.create()
    assert (without.status_code, "requires an 'image_path' input" in without.text) == (400, True)
    parts = {"prompt": (None, "A heron"), "input_reference": ("a.png", b"any bytes", "image/png")}
    assert simulator.call("POST", "/v1/videos", files=parts).status_code == 200
    assert len(simulator.ledger()) == 1
