"""A browser plays a video by its link, and goes to another place in it: from the disk and from a bucket.

Needs Chromium; without it these tests are skipped.
"""

import io
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import av
import pytest
from django.test import Client
from pytest_django import Settings

from tests.videos.scripted import ScriptedClient
from videos.models import Job
from videos.stores.bucket import Bucket

# The last is what the machines of GitHub's actions have.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.nightly,
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium"),
]

SECONDS = 40
_BROWSER_SECONDS = 60
PAGE = """<!doctype html><title>player</title><body><script>
const video = document.createElement("video");
const until = name => new Promise(done => video.addEventListener(name, done, {once: true}));
const wait = () => new Promise(done => setTimeout(done, 50));
const passes = async moment => { while (video.currentTime <= moment) await wait(); };
const say = result => fetch("/result", {method: "POST", body: JSON.stringify(result)});
video.muted = true;
video.addEventListener("error", () => say({error: video.error.message}));
(async () => {
  const loaded = until("loadedmetadata");
  video.src = decodeURIComponent(location.hash.slice(1));
  document.body.append(video);
  await loaded;
  await video.play();
  await passes(0.3);
  const seeked = until("seeked");
  video.currentTime = video.duration - 3;
  await seeked;
  await passes(video.duration - 2.5);
  const back = until("seeked");
  video.currentTime = 10;
  await back;
  await passes(10.3);
  await say({duration: video.duration, width: video.videoWidth, height: video.videoHeight});
})();
</script>"""


@cache
def long_clip() -> bytes:
    """A video of noise, so large that no player takes it as a whole first. What a player needs to begin is
    at its end."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.bit_rate = 12_000_000
        stream.time_base = Fraction(1, 8)
        for number in range(8 * SECONDS):
            frame = av.VideoFrame(320, 240, "yuv420p")
            for plane in frame.planes:
                plane.update(os.urandom(plane.buffer_size))
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@contextmanager
def player() -> Iterator[tuple[str, "Queue[Any]"]]:
    """A page that plays what stands behind its `#`, on a host of its own, and what it then says."""
    said: Queue[Any] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def do_POST(self) -> None:
            said.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}/", said
        server.shutdown()


def played(link: str, folder: Path) -> Any:
    """What the browser says after it has played the link."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    with player() as (page, said):
        # With a port for debuggers it stays until it is ended.
        command = [CHROMIUM, *options, f"--user-data-dir={folder}", "--remote-debugging-port=0"]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        address = f"{page}#{link.replace('%', '%25')}"
        with subprocess.Popen([*command, address], **silent) as browser:  # type: ignore[call-overload]
            try:
                return said.get(timeout=_BROWSER_SECONDS)
            except Empty:
                pytest.fail("the video was not played")
            finally:
                browser.terminate()


def link_of(job: Job, api: Client, host: str) -> str:
    answer = api.get(f"/api/v1/videos/{job.pk}", headers={"host": host.removeprefix("http://")})
    return str(answer.json()["data"]["result"]["videoUrl"])


def test_from_the_disk(
    complete: Callable[..., Job],
    sora: ScriptedClient,
    api: Client,
    live_server: Any,
    settings: Settings,
    tmp_path: Path,
) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"
    sora.content = long_clip()
    assert len(sora.content) > 30_000_000
    link = link_of(complete(), api, live_server.url)
    assert link.startswith(f"{live_server.url}/api/v1/videos/")
    assert played(link, tmp_path / "browser") == {"duration": SECONDS, "width": 320, "height": 240}


def test_from_a_bucket(
    complete: Callable[..., Job],
    sora: ScriptedClient,
    api: Client,
    live_server: Any,
    bucket: Bucket,
    tmp_path: Path,
) -> None:
    sora.content = long_clip()
    link = link_of(complete(), api, live_server.url)
    assert link.startswith(f"{bucket.endpoint_url}/{bucket.bucket_name}/")
    assert played(link, tmp_path / "browser") == {"duration": SECONDS, "width": 320, "height": 240}


def test_a_link_that_was_changed_is_not_played(
    complete: Callable[..., Job], api: Client, live_server: Any, settings: Settings, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"
    link = link_of(complete(), api, live_server.url)
    assert "error" in played(f"{link}x", tmp_path / "browser")
