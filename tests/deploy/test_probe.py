"""The health check of containers says well only of what is well."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.services import ROOT, free_port
from tests.timeouts import TIMEOUT


class _Answers(BaseHTTPRequestHandler):
    """Answers with the status that the path names; /302 leads to /200, and /0 has no answer."""

    let_go: threading.Event

    def do_GET(self) -> None:
        status = int(self.path[1:])
        if status == 0:
            self.let_go.wait(TIMEOUT)
            return
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    _Answers.let_go = threading.Event()
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        _Answers.let_go.set()
        server.shutdown()
        thread.join()


def probe(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", str(ROOT / "deploy" / "probe.py"), *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def test_an_address_is_well_only_if_it_answers_with_200(address: str) -> None:
    assert probe("get", f"{address}/200").returncode == 0
    # What the environment says of proxies does not count.
    assert probe("get", f"{address}/200", http_proxy="http://127.0.0.1:1").returncode == 0
    for path in ("302", "404", "500", "503", "204"):
        done = probe("get", f"{address}/{path}")
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert path in done.stderr


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/200", "file:///etc/passwd"])
def test_no_other_address_is_well(url: str) -> None:
    assert probe("get", url).returncode == 1


def test_nobody_and_silence_are_not_well(address: str) -> None:
    assert "does not answer" in probe("get", f"http://127.0.0.1:{free_port()}/").stderr
    done = probe("get", f"{address}/0")
    assert done.returncode == 1
    assert "does not answer" in done.stderr


def test_a_file_is_well_while_it_is_fresh(tmp_path: Path) -> None:
    pulse = tmp_path / "pulse"
    assert probe("fresh", str(pulse), "30").returncode == 1
    pulse.touch()
    assert probe("fresh", str(pulse), "30").returncode == 0
    os.utime(pulse, (time.time() - 31, time.time() - 31))
    done = probe("fresh", str(pulse), "30")
    assert done.returncode == 1
    assert "31 s ago" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["get"], ["fresh", "x"], ["fresh", "x", "soon"], ["other", "x"]])
def test_what_it_does_not_understand_is_not_well(arguments: list[str]) -> None:
    assert probe(*arguments).returncode == 1
