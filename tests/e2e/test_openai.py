"""The example of docs/openai.md, as it stands there, with OpenAI's SDK against separate processes."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.caller import Caller, ledger
from tests.e2e.processes import Program
from tests.services import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


def test_the_example_delivers_a_video_that_is_paid_once(
    start: Callable[..., Program],
    start_simulator: Callable[..., tuple[Program, str]],
    start_web: Callable[..., tuple[Program, Caller]],
    tmp_path: Path,
) -> None:
    _, upstream = start_simulator()
    settings = {"TAKEONE_VAR": str(tmp_path / "var"), "SORA_BASE_URL": upstream}
    settings |= {"SORA_PROVIDER": "rented", "SORA_API_KEY": "a-key", "SORA_SYNC_SECONDS_MIN": "1"}
    _, caller = start_web(settings)
    work = start(["manage.py", "work"], settings)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "openai.md").read_text(), re.S)
    for shown, ours in (
        ("http://127.0.0.1:8000", caller.address),
        ("takeone_…", caller.headers["x-api-key"]),
    ):
        assert example.count(shown) == 1
        example = example.replace(shown, ours)

    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "boat.mp4").read_bytes()[4:8] == b"ftyp"
    assert [entry["seconds"] for entry in ledger(upstream)] in ([8], ["8"])
    (job,) = caller.get(f"{caller.address}/api/v1/videos").json()["data"]
    assert (job["status"], job["size"]) == ("completed", "720x1280")
    work.interrupt()
    assert work.ends(within=5) == 0, work.report()
