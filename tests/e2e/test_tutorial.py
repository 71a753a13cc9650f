"""docs/start.md, word by word, ends in a downloaded video."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tests.e2e import greeting
from tests.e2e.conftest import Up
from tests.e2e.processes import eventually
from tests.services import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


def commands() -> list[str]:
    """What the page tells its reader to type, block by block."""
    page = (ROOT / "docs" / "start.md").read_text()
    blocks = re.findall(r"^( *)```sh\n(.*?)^ *```", page, re.M | re.S)
    return ["\n".join(line.removeprefix(indent) for line in text.splitlines()) for indent, text in blocks]


def type_in(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """Runs lines in a shell that begins in this folder."""
    return subprocess.run(
        ["bash", "-c", "\n".join(lines)], cwd=folder, capture_output=True, text=True, timeout=30
    )


def test_the_tutorial_ends_in_a_video(up: Callable[..., Up], tmp_path: Path) -> None:
    clone, make_up, source, ask, remember, follow, download, log_in = commands()
    assert clone.splitlines()[-1] == "cd takeone"
    # The fixture does this; the Makefile's own steps are not for a test without a network.
    assert make_up == "make up"
    # A slow render, so that the first download comes too early.
    service = up(render_seconds=3)

    asked = type_in(tmp_path, source, ask)
    assert asked.returncode == 0, asked.stderr
    job = json.loads(asked.stdout)["data"]["jobId"]
    name, _, example = remember.partition("=")
    assert re.fullmatch(r"[0-9a-f-]{36}", example)
    typed = [source, f"{name}={job}"]

    early = type_in(tmp_path, *typed, download)
    assert early.returncode == 22
    assert "The requested URL returned error: 400" in early.stderr
    assert not (tmp_path / "boat.mp4").exists()

    def completed() -> bool:
        followed = type_in(tmp_path, *typed, follow)
        assert followed.returncode == 0, followed.stderr
        return str(json.loads(followed.stdout)["data"]["status"]) == "completed"

    eventually(completed, "completed", within=30, every=0.3)
    done = type_in(tmp_path, *typed, download)
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "boat.mp4"), "r") as video:
        assert video.duration
    assert log_in == ".venv/bin/python manage.py login_link takeone"
    assert service.program.running()


def test_it_shows_what_make_up_prints(up: Callable[..., Up]) -> None:
    service = up()
    assert greeting.printed(service.program.output) == greeting.shown()
    assert "(Ctrl-C ends it)" in service.program.output
