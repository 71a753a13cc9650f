"""Each fault does what its name says, as often as it was asked to."""

import time
from typing import Any

import pytest
import requests

from simulator.fault_kinds import KINDS, OPERATIONS
from tests.simulator.process import Simulator, error, eventually


def refused(sim: Simulator, **fault: Any) -> requests.Response:
    return sim.call("POST", "/_simulator/faults", json=fault)


def test_a_refused_connection_makes_no_job(sim: Simulator) -> None:
    sim.arm("refuse")
    with pytest.raises(requests.ConnectionError, match=r"reset|aborted"):
        sim.create("A heron refused")
    assert sim.paid("A heron refused") == []
    assert sim.create("A heron refused").status_code == 200


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 425, 429, 500, 502, 503])
def test_any_error_status_is_answered_in_the_envelope_and_makes_no_job(sim: Simulator, status: int) -> None:
    sim.arm("error", status=status, message="No heron.", code="no_heron", param="prompt")
    answer = sim.create(f"A heron of {status}")
    assert error(answer) == (status, "No heron.", "prompt", "no_heron")
    assert "retry-after" not in answer.headers
    assert sim.paid(f"A heron of {status}") == []


def test_an_error_carries_the_headers_that_steer_retries(sim: Simulator) -> None:
    sim.arm("error", operation="retrieve", status=429, retry_after=7, retry_after_ms=1500, should_retry=False)
    headers = sim.call("GET", "/v1/videos/video_1").headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("7", "1500")
    assert headers["x-should-retry"] == "false"
    sim.arm(
        "error", operation="retrieve", status=503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT", body="down"
    )
    answer = sim.call("GET", "/v1/videos/video_1")
    assert (answer.headers["retry-after"], answer.text) == ("Wed, 21 Oct 2026 07:28:00 GMT", "down")


def test_created_then_500_is_paid(sim: Simulator) -> None:
    sim.arm("created_then_500", status=502)
    assert sim.create("A heron made and lost").status_code == 502
    (entry,) = sim.paid("A heron made and lost")
    assert sim.retrieve(entry["id"])["prompt"] == "A heron made and lost"
    assert entry["id"] in sim.ids()


@pytest.mark.parametrize("operation", ["create", "remix", "edit", "extend"])
def test_created_then_drop_is_paid(sim: Simulator, operation: str) -> None:
    source = sim.made()
    paths = {"create": "", "remix": f"/{source}/remix", "edit": "/edits", "extend": "/extensions"}
    asked: dict[str, Any] = {"prompt": f"A heron lost by {operation}"}
    if operation in ("edit", "extend"):
        asked |= {"video": {"id": source}, "seconds": "4"}
    sim.arm("created_then_drop", operation=operation)
    with pytest.raises(requests.ConnectionError):
        sim.call("POST", f"/v1/videos{paths[operation]}", json=asked)
    (entry,) = sim.paid(f"A heron lost by {operation}")
    assert (entry["operation"], entry["status"]) == (operation, "completed")
    counts = sim.call("GET", "/_simulator/requests").json()
    assert counts["answered"][operation]["dropped"] == 1


def test_a_create_that_is_invalid_anyway_is_refused_and_not_dropped(sim: Simulator) -> None:
    sim.arm("created_then_drop")
    assert error(sim.create(seconds="5"))[0] == 400


def test_deleted_then_drop_has_deleted(sim: Simulator) -> None:
    video_id = sim.made()
    sim.arm("deleted_then_drop")
    with pytest.raises(requests.ConnectionError):
        sim.call("DELETE", f"/v1/videos/{video_id}")
    assert error(sim.call("DELETE", f"/v1/videos/{video_id}"))[0] == 404


def test_a_slow_create_is_made_at_once_and_answered_late(sim: Simulator) -> None:
    sim.arm("slow", seconds=30)
    with pytest.raises(requests.ReadTimeout):
        sim.call("POST", "/v1/videos", json={"prompt": "A slow heron"}, timeout=0.2)
    assert len(sim.paid("A slow heron")) == 1


def test_a_slow_create_can_be_made_late_as_well(sim: Simulator) -> None:
    sim.arm("slow", seconds=0.4, handled_first=False)
    with pytest.raises(requests.ReadTimeout):
        sim.call("POST", "/v1/videos", json={"prompt": "A late heron"}, timeout=0.1)
    assert sim.paid("A late heron") == []
    eventually(lambda: sim.paid("A late heron"), "the create is handled all the same")


def test_a_dripping_answer_is_whole_in_the_end(sim: Simulator) -> None:
    video_id = sim.made()
    sim.arm("drip", operation="retrieve", seconds=0.01, bytes=20)
    started = time.monotonic()
    assert sim.retrieve(video_id)["id"] == video_id
    assert time.monotonic() - started > 0.1


@pytest.mark.parametrize("operation", ["retrieve", "content"])
def test_an_endless_answer_never_ends(sim: Simulator, operation: str) -> None:
    video_id = sim.made()
    sim.arm("endless", operation=operation, seconds=0, bytes=65536)
    path = f"/v1/videos/{video_id}" + ("/content" if operation == "content" else "")
    with sim.call("GET", path, stream=True) as answer:
        assert answer.status_code == 200
        read = 0
        for piece in answer.iter_content(65536):
            read += len(piece)
            if read > 4_000_000:
                break
        assert read > 4_000_000
    assert sim.retrieve(video_id)["id"] == video_id


def test_garbage_is_html_with_a_status_of_success(sim: Simulator) -> None:
    sim.arm("garbage")
    answer = sim.create("A heron in HTML")
    assert (answer.status_code, answer.headers["content-type"][:9]) == (200, "text/html")
    assert sim.paid("A heron in HTML") == []
    sim.arm("garbage", handled=True, body="{}", content_type="application/json")
    assert sim.create("A heron in HTML").json() == {}
    assert len(sim.paid("A heron in HTML")) == 1


def test_an_answer_carries_any_id_that_a_test_gives(sim: Simulator) -> None:
    used = sim.made()
    sim.arm("given_id", id=used)
    assert sim.create("A heron twice").json()["id"] == used
    (entry,) = sim.paid("A heron twice")
    assert entry["id"] != used
    sim.arm("given_id", length=10_240)
    assert len(sim.create().json()["id"]) == 10_240
    sim.arm("given_id", id=None)
    assert sim.create().json()["id"] is None
    # Free text becomes the job's own id.
    own = "x" * 10_000
    sim.arm("given_id", id=own)
    assert sim.made() == own
    assert sim.content(own).content[4:8] == b"ftyp"


def test_a_redirect_leads_where_it_is_told(sim: Simulator) -> None:
    sim.arm("redirect")
    answer = sim.call("POST", "/v1/videos", json={"prompt": "A heron led on"}, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/v1/videos")
    assert sim.paid("A heron led on") == []
    sim.arm("redirect", operation="content", status=302, location="http://127.0.0.1:1/clip")
    answer = sim.call("GET", "/v1/videos/video_1/content", allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:1/clip")


def test_an_answer_can_be_altered_key_by_key(sim: Simulator) -> None:
    video_id = sim.made()
    sim.arm("altered", operation="retrieve", set={"status": "processing", "progress": 12.5}, drop=["error"])
    video = sim.retrieve(video_id)
    assert (video["status"], video["progress"]) == ("processing", 12.5)
    assert "error" not in video
    sim.arm("altered", operation="list", set={"seconds": 4})
    videos = sim.call("GET", "/v1/videos").json()["data"]
    assert {video["seconds"] for video in videos} == {4}
    assert sim.retrieve(video_id)["status"] == "completed"


def test_a_page_loop_gives_the_same_page_for_ever(sim: Simulator) -> None:
    newest = [sim.made() for _ in range(3)][::-1]
    sim.arm("page_loop", times=2)
    for after in ({}, {"after": newest[1]}):
        page = sim.call("GET", "/v1/videos", params={"limit": "2", **after}).json()
        assert [video["id"] for video in page["data"]] == newest[:2]
        assert page["has_more"] is True
    assert sim.ids(limit="2", after=newest[1])[0] == newest[2]


def test_truncated_content_breaks_its_promise_of_length(sim: Simulator) -> None:
    video_id = sim.made()
    whole = sim.content(video_id).content
    sim.arm("truncated", fraction=0.25)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        sim.content(video_id)
    sim.arm("truncated", content_length=False)
    answer = sim.content(video_id)
    assert "content-length" not in answer.headers
    assert answer.content == whole[: len(whole) // 2]


def test_content_can_be_expired_unready_or_an_error_in_disguise(sim: Simulator) -> None:
    video_id = sim.made()
    sim.arm("expired_content")
    assert "Downloads expire after 1 hours." in error(sim.content(video_id))[1]
    sim.arm("not_ready")
    assert "Video is not ready yet" in error(sim.content(video_id))[1]
    sim.arm("error_as_content")
    answer = sim.content(video_id)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert set(answer.json()) == {"error"}
    assert sim.content(video_id).content[4:8] == b"ftyp"


def test_a_fault_fires_as_often_as_it_is_told_after_those_it_skips(sim: Simulator) -> None:
    sim.arm("error", times=2, skip=1, status=503)
    assert [sim.create().status_code for _ in range(4)] == [200, 503, 503, 200]
    assert sim.call("GET", "/_simulator/faults").json() == {"data": []}


def test_a_share_of_calls_is_the_same_for_the_same_seed(sim: Simulator) -> None:
    def statuses() -> list[int]:
        sim.call("DELETE", "/_simulator/faults")
        sim.arm("error", operation="list", share=0.4, seed=5)
        return [sim.call("GET", "/v1/videos", params={"limit": "1"}).status_code for _ in range(30)]

    first = statuses()
    assert first == statuses()
    assert 4 < first.count(500) < 20


def test_armed_faults_are_shown_and_cleared(sim: Simulator) -> None:
    sim.arm("error", times=None, status=503)
    sim.create()
    (shown,) = sim.call("GET", "/_simulator/faults").json()["data"]
    assert (shown["fault"], shown["operation"], shown["times_left"], shown["fired"]) == (
        "error",
        "create",
        None,
        1,
    )
    sim.call("DELETE", "/_simulator/faults")
    assert sim.create().status_code == 200


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({}, "'fault' must be one of: refuse, error"),
        ({"fault": "explode"}, "'fault' must be one of"),
        ({"fault": "page_loop", "operation": "create"}, "operations: list"),
        ({"fault": "refuse", "operation": ["create"]}, "operations: content, create"),
        ({"fault": "slow", "sconds": 1}, "unknown parameter 'sconds'; allowed: fault, operation"),
        ({"fault": "slow", "seconds": -1}, "'seconds' must be seconds, 0 or more"),
        ({"fault": "slow", "seconds": True}, "'seconds' must be"),
        ({"fault": "error", "status": 200}, "'status' must be a whole number from 400 to 599"),
        ({"fault": "error", "times": 0}, "'times' must be"),
        ({"fault": "error", "share": 2}, "'share' must be"),
        ({"fault": "error", "video_id": "video_1"}, "goes with the fates of a job: stuck, failed"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_what_does(
    sim: Simulator, fault: dict[str, Any], says: str
) -> None:
    status, message, _, _ = error(refused(sim, **fault))
    assert status == 400
    assert says in message
    assert sim.call("GET", "/_simulator/faults").json() == {"data": []}


def test_every_fault_can_be_armed_with_its_defaults_for_each_of_its_operations(sim: Simulator) -> None:
    for name, kind in KINDS.items():
        assert kind.operations <= OPERATIONS | {"webhook"}
        for operation in kind.operations:
            assert sim.arm(name, operation=operation)["operation"] == operation
