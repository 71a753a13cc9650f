"""What is kept is what its bytes say it is."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from upstreams.client.files.downloads import Content
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job
from videos.queue.attend import attend_to
from videos.results.probe import Unplayable, probe

PLAYLISTS = [
    b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n",
    b"ffconcat version 1.0\nfile /etc/passwd\n",
    b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'/>",
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 1 RTP/AVP 96\n",
    b"\x89PNG\r\n\x1a\n",
    b"",
]


@pytest.mark.parametrize("content", PLAYLISTS, ids=["hls", "concat", "dash", "sdp", "picture", "empty"])
def test_what_is_no_container_is_not_given_to_ffmpeg(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.m3u8"
    file.write_bytes(content)
    opened: list[Any] = []
    monkeypatch.setattr("videos.results.probe.av.open", lambda *args, **_: opened.append(args))
    with pytest.raises(Unplayable):
        probe(file)
    assert not opened


def test_a_real_video_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(clip())
    assert probe(file).format == "mp4"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "content", "suffix"),
    [
        ("image/webp", b"RIFF....WEBPVP8 ", "webp"),
        ("image/jpeg", b"\xff\xd8\xff\xe0" + b"x" * 20, "jpg"),
        ("image/png", b"\x89PNG\r\n\x1a\n" + b"x" * 20, "png"),
        # Called otherwise than it is.
        ("image/png", b"RIFF....WEBPVP8 ", "webp"),
        # No picture at all: our own is made.
        ("image/webp", b"<html>inside secrets</html>", "own"),
        ("image/svg+xml", b"<svg onload='alert(1)'/>", "own"),
        ("image/png", b"", "own"),
        ("text/plain", b"RIFF....WEBPVP8 ", "own"),
    ],
)
def test_a_thumbnail_is_a_picture_by_its_bytes(
    job: Job,
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    content: bytes,
    suffix: str,
) -> None:
    whole = sora.download

    @contextmanager
    def download(video_id: str, variant: str = "video", **asked: Any) -> Any:
        if variant == "video":
            with whole(video_id, variant, **asked) as found:
                yield found
        else:
            yield Content(kind, len(content), iter([content]))

    monkeypatch.setattr(sora, "download", download)
    submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    attend_to(only(job), upstream)
    job.refresh_from_db()
    assert job.status == "completed"
    with job.thumbnail.open() as file:
        kept = file.read()
    if suffix == "own":
        assert kept.startswith(b"\xff\xd8\xff")
        assert kept != content
    else:
        assert (kept, job.thumbnail.name.rpartition(".")[2]) == (content, suffix)
