"""A job's life over time, and what a killed simulator takes up again."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.jobs import Fate, Job, new_id
from simulator.state.records import Receipt
from simulator.state.store import Store
from tests.simulator.process import Simulator, error, eventually

NOT_READY = "Video is not ready yet, use GET /v1/videos/{video_id} to check status."


def job(**changes: object) -> Job:
    fields: dict[str, object] = {
        "number": 1,
        "id": "video_1",
        "kind": "create",
        "created_at": 1000.5,
        "model": "sora-2",
        "seconds": 4,
        "size": "720x1280",
        "prompt": "A heron",
        "source_id": None,
        "extensions": 0,
        "render_seconds": 100.0,
        "expires_seconds": 3600.0,
        "settles_at": 1100.5,
        "awaits_file": False,
        "has_reference": False,
        "deleted_at": None,
        "fate": Fate(),
    }
    return Job(**fields | changes)  # type: ignore[arg-type]


def test_a_job_is_queued_then_in_progress_then_completed() -> None:
    seen = [(job().status(now), job().progress(now)) for now in (1000.5, 1010, 1020, 1050.5, 1100.4, 1100.5)]
    assert seen[:2] == [("queued", 0)] * 2
    assert [status for status, _ in seen[2:5]] == ["in_progress"] * 3
    assert 1 <= seen[2][1] < seen[3][1] < seen[4][1] <= 99
    assert seen[5] == ("completed", 100)


def test_content_expires_an_hour_after_the_completion() -> None:
    video = job().video(1100.5)
    assert (video["completed_at"], video["expires_at"]) == (1100, 4700)
    assert not job().content_expired(4699.9)
    assert job().content_expired(4700)


def test_a_job_whose_file_is_late_stays_at_99() -> None:
    late = job(settles_at=None, awaits_file=True)
    assert (late.status(5000), late.progress(5000)) == ("in_progress", 99)
    assert late.video(5000)["completed_at"] is None


def test_ids_begin_with_the_time_in_hex() -> None:
    assert new_id(1758941485.9).startswith("video_68d7512d")
    assert len({new_id(0) for _ in range(100)}) == 100


def test_a_status_passes_through_its_stages_over_the_wire(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "1")
    video_id = simulator.made()
    seen = []

    def completed() -> bool:
        video = simulator.retrieve(video_id)
        seen.append((video["status"], video["progress"], video["completed_at"] is None))
        return bool(video["status"] == "completed")

    eventually(completed, "the job is completed")
    statuses = [status for status, _, _ in seen]
    assert sorted(set(statuses), key=statuses.index) == ["queued", "in_progress", "completed"]
    assert [progress for _, progress, _ in seen] == sorted(progress for _, progress, _ in seen)
    assert all(open_ended == (status != "completed") for status, _, open_ended in seen)


def test_a_running_job_has_no_content_no_remix_and_no_delete(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "600")
    video_id = simulator.made()
    assert error(simulator.content(video_id)) == (404, NOT_READY, None, None)
    assert error(simulator.call("DELETE", f"/v1/videos/{video_id}")) == (
        *(400, "Video is still being processed"),
        *(None, None),
    )
    remix = simulator.call("POST", f"/v1/videos/{video_id}/remix", json={"prompt": "Again"})
    assert error(remix)[0] == 404
    assert simulator.retrieve(video_id)["status"] == "queued"


def test_expired_content_is_gone_but_the_record_stays(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0", "--expires-seconds", "0")
    video_id = simulator.made()
    for variant in ("video", "thumbnail", "spritesheet"):
        assert error(simulator.content(video_id, variant=variant)) == (
            *(404, "The video is no longer available. Downloads expire after 1 hours."),
            *(None, None),
        )
    assert simulator.retrieve(video_id)["status"] == "completed"


def test_a_delete_is_for_ever(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0")
    gone, kept = simulator.made("A heron that goes"), simulator.made()
    answer = simulator.call("DELETE", f"/v1/videos/{gone}", headers={"Content-Type": "application/json"})
    assert answer.json() == {"id": gone, "object": "video.deleted", "deleted": True}
    simulator.kill()
    again = start("--tiny", "--render-seconds", "0")
    for path in (f"/v1/videos/{gone}", f"/v1/videos/{gone}/content"):
        assert error(again.call("GET", path))[:2] == (404, f"Video with id '{gone}' not found.")
    assert again.ids() == [kept]
    (entry,) = again.paid("A heron that goes")
    assert (entry["deleted"], entry["billed"]) == (True, True)


def test_an_unknown_variant_is_refused(sim: Simulator) -> None:
    refused = error(sim.content(sim.made(), variant="gif"))
    assert refused[1:] == (
        *("Invalid value: 'gif'. Supported values are: 'video', 'thumbnail', and 'spritesheet'.",),
        *("variant", "invalid_value"),
    )


def test_a_list_has_its_order_its_limit_and_its_ids(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0")
    empty: dict[str, object] = {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
    assert simulator.call("GET", "/v1/videos").json() == empty
    made = [simulator.made() for _ in range(23)]
    assert simulator.ids() == made[:2:-1]
    assert simulator.ids(order="asc", limit="100") == made
    page = simulator.call("GET", "/v1/videos", params={"order": "asc", "limit": "2", "after": made[4]}).json()
    assert (page["first_id"], page["last_id"], page["has_more"]) == (made[5], made[6], True)
    assert simulator.ids(limit="2", after=made[1]) == [made[0]]
    assert simulator.ids(limit="0") == []
    # A page goes on behind a video that was deleted meanwhile.
    simulator.call("DELETE", f"/v1/videos/{made[4]}")
    assert simulator.ids(order="asc", limit="1", after=made[4]) == [made[5]]
    assert made[4] not in simulator.ids(order="asc", limit="100") + simulator.ids(limit="100")
    for asked in ({"limit": "101"}, {"limit": "-1"}, {"limit": "x"}, {"order": "up"}):
        assert error(simulator.call("GET", "/v1/videos", params=asked))[0] == 400
    assert error(simulator.call("GET", "/v1/videos", params={"after": "video_none"}))[0] == 404


def test_a_simulator_killed_in_mid_render_continues_with_all_it_knew(start: Callable[..., Simulator]) -> None:
    simulator = start("--render-seconds", "1.5")
    video_ids = [simulator.made(f"Heron {number}", size="1280x720") for number in range(2)]
    before, ledger = simulator.retrieve(video_ids[0]), simulator.ledger()
    simulator.kill()
    again = start("--render-seconds", "600")
    after = again.retrieve(video_ids[0])
    assert after["created_at"] == before["created_at"]
    assert [(entry["id"], entry["body"]) for entry in again.ledger()] == [
        (entry["id"], entry["body"]) for entry in ledger
    ]
    for video_id in video_ids:
        video = again.finished(video_id)
        # Whole seconds of a render of 1.5 s and of the wait for its turn.
        assert 1 <= video["completed_at"] - video["created_at"] <= 8
        assert again.content(video_id).content[4:8] == b"ftyp"


def test_clips_that_are_missing_are_made_again(start: Callable[..., Simulator]) -> None:
    simulator = start("--render-seconds", "0")
    video_id = simulator.finished(simulator.made(size="1280x720"))["id"]
    first = simulator.content(video_id).content
    media = simulator.state.with_name("state.sqlite3.media")
    for path in media.iterdir():
        path.unlink()
    assert simulator.content(video_id).content == first
    simulator.call("DELETE", f"/v1/videos/{video_id}")
    assert list(media.iterdir()) == []


def test_a_job_and_its_ledger_entry_are_made_together_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite3")
    unwritable = Receipt("POST", "/v1/videos", {}, b"", 4, price=object())  # type: ignore[arg-type]
    with pytest.raises(sqlite3.Error):
        store.add(job(), unwritable)
    assert store.job("video_1") is None
    store.add(job(), Receipt("POST", "/v1/videos", {}, b"", 4, "0.40"))
    assert [(kept.id, receipt.price) for kept, receipt in store.ledger()] == [("video_1", "0.40")]
    store.close()


def test_a_clip_that_comes_late_changes_no_end_that_is_known(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite3")
    kept = store.add(job(), Receipt("POST", "/v1/videos", {}, b"", 4, None))
    store.ready(kept, 5000)
    found = store.job("video_1")
    assert found is not None
    assert found.settles_at == 1100.5
    store.close()
