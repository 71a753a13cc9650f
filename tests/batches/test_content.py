"""A batch's videos come as one ZIP file, of which any range can be had by itself."""

import csv
import io
import json
import resource
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django import Settings

from batches.results import file_name
from batches.zipped import Member, MemberChanged, Zipped
from tests.batches.conftest import MakeBatch, Renders
from tests.videos.scripted import clip
from videos.models import Job

pytestmark = pytest.mark.django_db(transaction=True)

THEN = datetime(2026, 11, 28, 10, 20, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


def fetch(api: Client, batch: Any, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.get(f"/api/v1/batches/{batch.pk}/content", headers=named)


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


@pytest.fixture
def batch(make_batch: MakeBatch, renders: Renders) -> Any:
    """Of four jobs, two of which are completed."""
    batch = make_batch(4)
    Job.objects.filter(prompt="boat 1").update(ref="scene one")
    renders.send()
    renders.end("boat 1")
    renders.end("boat 2")
    renders.end("boat 3", well=False)
    return batch


def test_all_videos_that_are_there_come_with_the_manifest(api: Client, batch: Any) -> None:
    answer = fetch(api, batch)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/zip")
    assert answer["Content-Disposition"] == f'inline; filename="{batch.pk}.zip"'
    whole = body(answer)
    assert answer["Content-Length"] == str(len(whole))
    archive = zipfile.ZipFile(io.BytesIO(whole))
    assert archive.testzip() is None
    assert archive.namelist() == ["scene one.mp4", "00002.mp4", "manifest.csv", "manifest.jsonl"]
    assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert archive.read("scene one.mp4") == archive.read("00002.mp4") == clip()
    rows = [json.loads(line) for line in archive.read("manifest.jsonl").splitlines()]
    assert [row["file"] for row in rows] == ["scene one.mp4", "00002.mp4", None, None]
    table = csv.DictReader(io.StringIO(archive.read("manifest.csv").decode("utf-8-sig")))
    assert [row["file"] for row in table] == ["scene one.mp4", "00002.mp4", "", ""]


def test_other_programs_read_it(api: Client, batch: Any, tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    path.write_bytes(body(fetch(api, batch)))
    found = subprocess.run(
        ["python3", "-m", "zipfile", "-t", str(path)], capture_output=True, text=True, check=True
    )
    assert "Done testing" in found.stdout


def test_any_range_is_that_of_the_whole(api: Client, batch: Any) -> None:
    answer = fetch(api, batch)
    whole, tag = body(answer), answer["ETag"]
    size = len(whole)
    places = [0, 1, 29, 30, 31, 60, size // 3, size // 2, size - 23, size - 1]
    for first in places:
        for last in (first, min(size - 1, first + 100), size - 1):
            part = fetch(api, batch, range=f"bytes={first}-{last}", if_range=tag)
            assert part.status_code == 206
            assert part["Content-Range"] == f"bytes {first}-{last}/{size}"
            assert body(part) == whole[first : last + 1]
    beyond = fetch(api, batch, range=f"bytes={size}-")
    assert (beyond.status_code, beyond.json()["error"]["code"]) == (416, "range_not_satisfiable")
    assert fetch(api, batch, if_none_match=tag).status_code == 304
    assert fetch(api, batch, if_match='"another"').status_code == 412
    assert body(fetch(api, batch, if_unmodified_since="Mon, 01 Jan 2024 00:00:00 GMT")) == whole, (
        "it has no date"
    )
    head = api.head(f"/api/v1/batches/{batch.pk}/content")
    assert (head["Content-Length"], body(head)) == (str(size), b"")


def test_a_range_of_another_archive_is_not_sent(api: Client, batch: Any, renders: Renders) -> None:
    tag = fetch(api, batch)["ETag"]
    renders.send()
    renders.end("boat 4")
    answer = fetch(api, batch, range="bytes=5-9", if_range=tag)
    assert answer.status_code == 200
    assert len(zipfile.ZipFile(io.BytesIO(body(answer))).namelist()) == 5


def test_what_is_not_there_is_left_out(api: Client, batch: Any, media: Path) -> None:
    first, second = Job.objects.filter(status="completed").order_by("pk")
    (media / str(first.video.name)).unlink()
    assert "scene one.mp4" not in zipfile.ZipFile(io.BytesIO(body(fetch(api, batch)))).namelist()
    (media / str(second.video.name)).write_bytes(clip()[:-1])
    archive = zipfile.ZipFile(io.BytesIO(body(fetch(api, batch))))
    assert archive.namelist() == ["manifest.csv", "manifest.jsonl"]


def test_without_its_media_there_is_no_archive(api: Client, batch: Any, media: Path) -> None:
    media.rename(media.with_name("away"))
    media.mkdir()
    answer = fetch(api, batch)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "media_unavailable")


def test_a_removed_video_is_left_out(api: Client, batch: Any) -> None:
    first = Job.objects.filter(status="completed").order_by("pk")[0]
    api.delete(f"/api/v1/videos/{first.pk}/content")
    archive = zipfile.ZipFile(io.BytesIO(body(fetch(api, batch))))
    assert archive.namelist()[0] == "00002.mp4"


def test_videos_of_an_older_version_are_measured(api: Client, batch: Any) -> None:
    Job.objects.update(crc32=None, file_size=None)
    assert zipfile.ZipFile(io.BytesIO(body(fetch(api, batch)))).testzip() is None
    found = Job.objects.filter(status="completed").values_list("crc32", flat=True)
    assert set(found) == {zlib.crc32(clip())}, "once"


def test_a_batch_without_videos_has_an_archive(api: Client, make_batch: MakeBatch) -> None:
    archive = zipfile.ZipFile(io.BytesIO(body(fetch(api, make_batch(1)))))
    assert archive.namelist() == ["manifest.csv", "manifest.jsonl"]


def test_a_file_that_changes_meanwhile_ends_the_download(api: Client, batch: Any, media: Path) -> None:
    answer = fetch(api, batch)
    job = Job.objects.filter(status="completed").order_by("pk")[1]
    (media / str(job.video.name)).write_bytes(clip()[:-5])
    with pytest.raises(MemberChanged):
        body(answer)


def test_the_batch_of_somebody_else_has_no_archive(api: Client) -> None:
    assert api.get(f"/api/v1/batches/{uuid4()}/content").status_code == 404
    assert api.get(f"/api/v1/batches/{uuid4()}/content?type=csv").status_code == 400


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("", "00007.mp4"),
        ("scene-1", "scene-1.mp4"),
        ("scene 1.mp4", "scene 1.mp4"),
        ("../../etc/passwd", "_.._etc_passwd.mp4"),
        ("/etc/passwd", "_etc_passwd.mp4"),
        ("C:\\boot.ini", "C_boot.ini.mp4"),
        ("...", "00007.mp4"),
        (". hidden .", "hidden.mp4"),
        ("CON", "_CON.mp4"),
        ("aux.txt", "_aux.txt.mp4"),
        ("CON .x", "_CON .x.mp4"),
        ("nul.tar.gz", "_nul.tar.gz.mp4"),
        ("-rf", "_-rf.mp4"),
        ("हिन्दी", "हिन्दी.mp4"),
        ("e\u0301te", "éte.mp4"),
        ("Bötchen 船", "Bötchen 船.mp4"),
        ("a\x00b\nc", "a_b_c.mp4"),
        ("船" * 100, "船" * 50 + ".mp4"),
    ],
)
def test_a_name_leads_nowhere_else(ref: str, name: str) -> None:
    assert file_name(ref, 7, ".mp4", set()) == name


def test_no_name_is_there_twice() -> None:
    taken: set[str] = set()
    names = [
        file_name(ref, number, ".mp4", taken)
        for number, ref in enumerate(("a", "A", "a-2", "a-2", "a/", "a_"), 1)
    ]
    assert len({name.casefold() for name in names}) == len(names)
    assert names[:2] == ["a.mp4", "A-2.mp4"]


class Zeros(io.RawIOBase):
    """A file of any length, which takes no room."""

    def __init__(self, size: int, start: int) -> None:
        self._size, self._at = size, start

    def read(self, size: int = -1) -> bytes:
        got = bytes(min(size, self._size - self._at))
        self._at += len(got)
        return got


def large(size: int, count: int) -> Zipped:
    opened: Callable[[int], Any] = lambda start: Zeros(size, start)  # noqa: E731
    return Zipped([Member(f"{number}.mp4", size, 7, THEN, opened) for number in range(count)])


def test_it_may_be_larger_than_zip_once_allowed(tmp_path: Path) -> None:
    """Of 12 files of 5 GB, only the ends are read."""
    size = 5 * 1024**3
    zipped = large(size, 12)
    assert zipped.size > 12 * size
    tail = b"".join(zipped.read(zipped.size - 4096, zipped.size))

    class Sparse(io.RawIOBase):
        """The archive, of which the headers and the end are there."""

        at = 0

        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            return self.at

        def seek(self, place: int, whence: int = 0) -> int:
            self.at = place if whence == 0 else zipped.size + place
            return self.at

        def read(self, count: int = -1) -> bytes:
            stop = zipped.size if count < 0 else min(zipped.size, self.at + count)
            got = b"".join(zipped.read(self.at, stop))
            self.at = stop
            return got

    archive = zipfile.ZipFile(Sparse())  # type: ignore[arg-type]
    assert [info.file_size for info in archive.infolist()] == [size] * 12
    assert [info.date_time for info in archive.infolist()] == [(2026, 11, 28, 10, 20, 30)] * 12
    with archive.open("11.mp4") as member:
        assert member.read(10) == bytes(10)
    assert tail[-22:-18] == b"PK\x05\x06"


def test_it_takes_no_more_memory_however_large_it_is() -> None:
    size = 64 * 1024**2
    checksum = zlib.crc32(bytes(size))
    zipped = Zipped([Member("a", size, checksum, THEN, lambda start: Zeros(size, start))] * 4)  # type: ignore[arg-type, return-value]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(map(len, zipped.read(0, zipped.size))) == zipped.size
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32_768


def test_a_time_before_zip_was_made_is_written_as_its_first() -> None:
    zipped = Zipped([Member("a", 1, 0, datetime(1970, 1, 1, tzinfo=UTC), lambda start: Zeros(1, start))])  # type: ignore[arg-type, return-value]
    (info,) = zipfile.ZipFile(io.BytesIO(b"".join(zipped.read(0, zipped.size)))).infolist()
    assert info.date_time == (1980, 1, 1, 0, 0, 0)
