"""`make up`: one command, one video, one bill, and a clean end."""

import io
import os
import re
import signal
import stat
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import av
import pytest
import requests

from tests.e2e.caller import ledger, printed_create
from tests.e2e.conftest import Up
from tests.e2e.processes import eventually, members, memory_bytes
from tests.timeouts import TIMEOUT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

_IDLE_MEMORY_BYTES = 230_000_000


def test_a_video_is_made_and_paid_once(up: Callable[..., Up]) -> None:
    service = up()

    address, headers, body = printed_create(service.program.output, service.env)
    answer = requests.post(address, data=body, headers=headers, timeout=TIMEOUT)
    assert answer.status_code == 201, answer.text
    job, statuses = service.caller.follow(answer.json()["data"]["jobId"], within=30)

    # The job may have been accepted upstream before it is first asked after.
    assert answer.json()["data"]["status"] == "pending"
    assert [status for status in statuses if status != "pending"] == ["processing", "completed"]
    (entry,) = ledger(service.upstream)
    assert Decimal(str(entry["price"])) == Decimal(job["cost"]["settled"]) > 0
    assert entry["id"] == job["soraJobId"]


def test_the_result_is_a_video_that_moves(up: Callable[..., Up]) -> None:
    service = up()
    job, _ = service.caller.follow(service.caller.ask_for("A kite over the sea"), within=30)
    result = job["result"]

    video = service.caller.get(result["videoUrl"])
    assert video.headers["Content-Type"] == "video/mp4"
    assert len(video.content) == result["fileSize"]
    pictures, length = _decoded(video.content)
    assert {(width, height) for width, height, _ in pictures} == {(result["width"], result["height"])}
    assert f"{result['width']}x{result['height']}" == job["submitted"]["size"]
    assert length == pytest.approx(float(job["submitted"]["seconds"]), abs=0.2)
    assert result["duration"] == pytest.approx(length, abs=0.2)
    assert len({picture for _, _, picture in pictures}) > len(pictures) / 2

    thumbnail = service.caller.get(result["thumbnailUrl"])
    assert thumbnail.headers["Content-Type"] in {"image/webp", "image/jpeg"}
    ((width, height, _),), _ = _decoded(thumbnail.content)
    assert width > 0
    assert height > 0


def _decoded(content: bytes) -> tuple[list[tuple[int, int, bytes]], float]:
    """Every frame's width, height and brightness, and the length in seconds."""
    with av.open(io.BytesIO(content), "r") as container:
        frames = [(f.width, f.height, bytes(f.planes[0])) for f in container.decode(video=0)]
        return frames, (container.duration or 0) / av.time_base


def test_the_shell_file_is_private_and_complete(up: Callable[..., Up], tmp_path: Path) -> None:
    service = up()

    assert stat.S_IMODE((tmp_path / "var" / "takeone.env").stat().st_mode) == 0o600
    assert set(service.env) == {"TAKEONE_URL", "TAKEONE_API_KEY", "SORA_BASE_URL", "TAKEONE_SIMULATOR_URL"}
    assert service.env["TAKEONE_URL"] == service.caller.address


def test_it_prints_each_address_and_a_way_into_the_admin(up: Callable[..., Up]) -> None:
    service = up()
    address = service.caller.address

    printed = set(re.findall(r"http://127\.0\.0\.1:\d+\S*", service.program.output))
    assert {f"{address}/{each}" for each in ("docs", "health", "ready", "admin/")} <= printed
    (link,) = (each for each in printed if "token=" in each)
    for each in (printed - {service.upstream, link}) | {f"{address}/", f"{address}/admin"}:
        assert requests.get(each, timeout=TIMEOUT).status_code in {200, 503}, each

    browser = requests.Session()
    page = browser.get(link, timeout=TIMEOUT)
    assert (page.status_code, page.url) == (200, f"{address}/admin/")
    assert "takeone" in page.text
    assert requests.get(link, timeout=TIMEOUT).status_code == 403
    # It was printed for a person, once, and no log line repeats it.
    assert service.program.output.count("token=") == 1


def test_ctrl_c_ends_everything_at_once(up: Callable[..., Up]) -> None:
    service = up(render_seconds=60)
    service.caller.ask_for("A lighthouse in the rain")

    began = time.monotonic()
    service.program.interrupt()
    code = service.program.ends(within=5)

    eventually(lambda: not members(service.program.session), "no process left", within=5)
    assert time.monotonic() - began < 5
    assert code == 0, service.program.report()
    assert "Traceback" not in service.program.output
    assert "[error" not in service.program.output


def test_sigterm_to_the_one_process_ends_everything(up: Callable[..., Up]) -> None:
    """What a process manager does, which knows only the process that it has started."""
    service = up()

    os.kill(service.program.session, signal.SIGTERM)

    assert service.program.ends(within=5) == 0, service.program.report()
    eventually(lambda: not members(service.program.session), "no process left", within=5)
    assert "Traceback" not in service.program.output


def test_idle_memory_is_small(up: Callable[..., Up]) -> None:
    service = up()
    service.caller.follow(service.caller.ask_for("A train in the snow"), within=30)

    kept = memory_bytes(service.program.session)

    assert sum(kept.values()) < _IDLE_MEMORY_BYTES, kept


def test_a_body_that_is_too_large_is_one_clear_error(up: Callable[..., Up]) -> None:
    service = up()
    address, headers, _ = printed_create(service.program.output, service.env)
    answer = requests.post(address, data=b"x" * 10_000_000, headers=headers, timeout=30)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "payload_too_large"
