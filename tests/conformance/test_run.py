"""What the conformance run leaves out, and what it keeps of an environment."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.conformance import results, run
from tests.conformance.environments import installing


def test_without_node_a_line_says_that_aimock_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["run", "--only", "aimock"])
    before = results.RESULTS.read_text()

    assert run.main() == 0

    assert capsys.readouterr().out == "aimock: not tried: node is not installed\n"
    assert results.RESULTS.read_text() == before


def test_an_interrupted_install_is_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with pytest.raises(OSError, match="no space"), installing(folder, b"one") as wanted:
        assert wanted
        raise OSError("no space")
    with installing(folder, b"one") as wanted:
        assert wanted
    with installing(folder, b"one") as wanted:
        assert not wanted
    with installing(folder, b"two") as wanted:
        assert wanted
