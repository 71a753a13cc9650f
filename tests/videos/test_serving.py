"""Downloads as players, caches and download managers make them."""

import hashlib
import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client
from pytest_django import Settings

from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job
from videos.results.store import store

pytestmark = pytest.mark.django_db

WHOLE = clip()


@pytest.fixture
def kept(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, settings: Settings, tmp_path: Path
) -> Callable[..., Job]:
    settings.MEDIA_ROOT = tmp_path / "media"

    def kept(prompt: str = "A paper boat") -> Job:
        job = make_job(prompt=prompt)
        submit_next(upstream)
        sora.complete(str(only(job).upstream_id))
        # A sweep that was slow makes the next one wait.
        Provider.objects.update(sweep_due_at=None)
        sweep(upstream)
        store(only(job), upstream)
        job.refresh_from_db()
        assert job.status == "completed"
        return job

    return kept


@pytest.fixture
def get(api: Client) -> Iterator[Callable[..., Any]]:
    """As api.get. In the end each answer is read, which closes its file."""
    answers: list[Any] = []

    def get(address: str, **more: Any) -> Any:
        answers.append(api.get(address, **more))
        return answers[-1]

    yield get
    for answer in answers:
        if answer.streaming:
            body(answer)


@pytest.fixture
def fetch(kept: Callable[..., Job], get: Callable[..., Any]) -> Callable[..., Any]:
    job = kept()

    def fetch(variant: str = "video", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return get(f"/api/v1/videos/{job.pk}/content?variant={variant}", headers=named)

    return fetch


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def test_the_whole_file_comes_with_what_a_cache_needs(fetch: Callable[..., Any]) -> None:
    answer = fetch()
    assert answer.status_code == 200
    assert body(answer) == WHOLE
    assert answer["Content-Length"] == str(len(WHOLE))
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["Content-Type"] == "video/mp4"
    assert answer["ETag"].startswith('"')
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "private, no-cache"
    assert parsedate_to_datetime(answer["Last-Modified"])
    assert "Content-Range" not in answer


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, len(WHOLE) - 1),
        ("bytes=10-19", 10, 19),
        ("Bytes=10-19", 10, 19),
        ("bytes= 10-19", 10, 19),
        ("bytes=100-", 100, len(WHOLE) - 1),
        ("bytes=10-999999999999", 10, len(WHOLE) - 1),
        (f"bytes={len(WHOLE) - 1}-", len(WHOLE) - 1, len(WHOLE) - 1),
        ("bytes=-5", len(WHOLE) - 5, len(WHOLE) - 1),
        ("bytes=-999999999999", 0, len(WHOLE) - 1),
    ],
)
def test_one_range_comes_as_it_is_asked_for(
    fetch: Callable[..., Any], asked: str, first: int, last: int
) -> None:
    answer = fetch(range=asked)
    assert answer.status_code == 206
    assert body(answer) == WHOLE[first : last + 1]
    assert answer["Content-Range"] == f"bytes {first}-{last}/{len(WHOLE)}"
    assert answer["Content-Length"] == str(last - first + 1)
    assert answer["ETag"] == fetch()["ETag"]
    assert answer["Content-Type"] == "video/mp4"
    assert answer["Content-Disposition"] == fetch()["Content-Disposition"]


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-1,4-5",
        "bytes=" + ",".join("0-1" for _ in range(1_000)),
        "bytes=5-2",
        "bytes=-",
        "bytes=a-b",
        "bytes=1-2x",
        "bytes=0x1-0x2",
        "bytes=+1-2",
        "bytes=\u0661-\u0662",
        "bytes=" + "1" * 5_000 + "-",
        "bytes 1-2",
        "items=1-2",
        "",
    ],
)
def test_what_is_not_one_range_is_the_whole_file(fetch: Callable[..., Any], asked: str) -> None:
    answer = fetch(range=asked)
    assert (answer.status_code, body(answer)) == (200, WHOLE)


@pytest.mark.parametrize("asked", [f"bytes={len(WHOLE)}-", "bytes=99999999-99999999", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused_with_the_size(fetch: Callable[..., Any], asked: str) -> None:
    answer = fetch(range=asked)
    assert answer.status_code == 416
    assert answer["Content-Range"] == f"bytes */{len(WHOLE)}"
    error = answer.json()["error"]
    assert (error["code"], error["details"]) == ("range_not_satisfiable", {"size": len(WHOLE)})


def test_a_download_is_continued_only_with_the_same_file(fetch: Callable[..., Any]) -> None:
    whole = fetch()
    for named in (whole["ETag"], whole["Last-Modified"]):
        assert fetch(range="bytes=5-", if_range=named).status_code == 206
    earlier = formatdate(0, usegmt=True)
    for named in ('"another"', f"W/{whole['ETag']}", earlier, "yesterday", ""):
        answer = fetch(range="bytes=5-", if_range=named)
        assert (answer.status_code, body(answer)) == (200, WHOLE), named


def test_what_a_cache_has_is_not_sent_again(fetch: Callable[..., Any]) -> None:
    whole = fetch()
    for headers in (
        {"if_none_match": whole["ETag"]},
        {"if_none_match": f'"another", W/{whole["ETag"]}'},
        {"if_none_match": "*"},
        {"if_modified_since": whole["Last-Modified"]},
        {"if_none_match": whole["ETag"], "range": "bytes=0-1"},
    ):
        answer = fetch(**headers)
        assert (answer.status_code, answer.content) == (304, b""), headers
        assert (answer["ETag"], answer["Last-Modified"]) == (whole["ETag"], whole["Last-Modified"])
    assert fetch(if_none_match='"another"').status_code == 200
    assert fetch(if_modified_since=formatdate(86_400, usegmt=True)).status_code == 200


def test_a_file_that_is_not_the_one_that_was_meant_is_not_sent(fetch: Callable[..., Any]) -> None:
    for headers in ({"if_match": '"another"'}, {"if_unmodified_since": formatdate(86_400, usegmt=True)}):
        answer = fetch(**headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (412, "precondition_failed")
    assert fetch(if_match=fetch()["ETag"]).status_code == 200


def test_another_file_has_another_tag(kept: Callable[..., Job], get: Callable[..., Any]) -> None:
    job, other = kept(), kept()
    addresses = [
        f"/api/v1/videos/{each.pk}/content{rest}"
        for each in (job, other)
        for rest in ("", "?variant=thumbnail")
    ]
    tags = {get(address)["ETag"] for address in addresses}
    assert len(tags) == 4
    before = get(addresses[0])["ETag"]
    path = Path(job.video.path)
    path.write_bytes(WHOLE[::-1])
    assert get(addresses[0])["ETag"] != before


def test_a_head_is_answered_like_a_get(fetch: Callable[..., Any], api: Client) -> None:
    job = Job.objects.get()
    for headers in ({}, {"range": "bytes=0-9"}, {"range": "bytes=99999999-"}):
        answer = api.head(f"/api/v1/videos/{job.pk}/content", headers=headers)
        assert answer.status_code == 200, "only a GET has a range"
        assert answer["Content-Length"] == str(len(WHOLE))
        assert answer["Content-Disposition"] == fetch()["Content-Disposition"]
        body(answer)


def test_a_picture_is_served_alike(fetch: Callable[..., Any]) -> None:
    whole = fetch("thumbnail")
    kind, sent = whole["Content-Type"], body(whole)
    assert kind.startswith("image/")
    answer = fetch("thumbnail", range="bytes=2-3")
    assert (answer.status_code, body(answer), answer["Content-Type"]) == (206, sent[2:4], kind)


@pytest.mark.parametrize(
    ("prompt", "begins"),
    [
        ("A paper boat", "a-paper-boat-"),
        ("../../etc/passwd\r\nSet-Cookie: a=b", "etcpasswd-set-cookie-ab-"),
        ("..\\..\\boot.ini", "bootini-"),
        ("boat.exe", "boatexe-"),
        ('"quoted"; filename="x.html"', "quoted-filenamexhtml-"),
        ("???", "video-"),
        ("x" * 2_000, "x" * 60 + "-"),
    ],
)
def test_a_file_is_named_after_its_prompt_and_id(
    kept: Callable[..., Job], get: Callable[..., Any], prompt: str, begins: str
) -> None:
    job = kept(prompt)
    named = get(f"/api/v1/videos/{job.pk}/content")["Content-Disposition"]
    assert named == f'inline; filename="{begins}{job.pk}.mp4"'


def test_a_name_of_another_script_is_sent_as_browsers_read_it(
    kept: Callable[..., Job], get: Callable[..., Any]
) -> None:
    job = kept("Ein Bötchen 船")
    named = get(f"/api/v1/videos/{job.pk}/content")["Content-Disposition"]
    assert named == (
        f'inline; filename="ein-botchen--{job.pk}.mp4"; '
        f"filename*=utf-8''ein-b%C3%B6tchen-%E8%88%B9-{job.pk}.mp4"
    )


@pytest.mark.parametrize("letter", ["x", "船", "\ufdfa", "\U0001d52c", "\U00020000"])
def test_no_name_is_too_long_for_a_disk_or_a_header(
    kept: Callable[..., Job], get: Callable[..., Any], letter: str
) -> None:
    job = kept(letter * 60)
    named = get(f"/api/v1/videos/{job.pk}/content")["Content-Disposition"]
    assert len(named) < 500
    exact = unquote(named.rpartition("=")[2])
    assert len(exact.encode()) <= 150
    assert str(job.pk) in exact


def test_nothing_of_it_stays_open(fetch: Callable[..., Any]) -> None:
    path = Job.objects.get().video.path

    def opened() -> int:
        return sum(
            os.path.realpath(f"/proc/self/fd/{number}") == path for number in os.listdir("/proc/self/fd")
        )

    whole = fetch()
    assert opened() == 1
    tag = whole["ETag"]
    body(whole)
    for headers in (
        {},
        {"range": "bytes=0-1"},
        {"range": "bytes=99999999-"},
        {"if_none_match": tag},
        {"if_match": '"x"'},
    ):
        answer = fetch(**headers)
        if answer.streaming:
            body(answer)
        assert opened() == 0


def test_the_hash_of_the_whole_comes_with_each_part(fetch: Callable[..., Any]) -> None:
    digest = b64encode(hashlib.sha256(WHOLE).digest()).decode()
    for answer in (fetch(), fetch(range="bytes=3-5")):
        assert answer["Repr-Digest"] == f"sha-256=:{digest}:"
    assert "Repr-Digest" not in fetch("thumbnail")
    Job.objects.update(sha256="")
    assert "Repr-Digest" not in fetch(), "kept by a version that did not measure it"


@pytest.mark.parametrize("variant", ["video", "thumbnail"])
@pytest.mark.parametrize("header", ["X-Accel-Redirect", "X-Sendfile"])
def test_a_web_server_in_front_is_told_which_file_to_send(
    fetch: Callable[..., Any], settings: Settings, header: str, variant: str
) -> None:
    plain = fetch(variant)
    settings.RESULT_SENDFILE = header
    settings.RESULT_SENDFILE_LOCATION = "/inside/"
    job = Job.objects.get()
    kept = job.video if variant == "video" else job.thumbnail
    # It judges ranges and conditions itself.
    answer = fetch(variant, range="bytes=0-1", if_none_match=plain["ETag"])
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer[header] == (f"/inside/{kept.name}" if header == "X-Accel-Redirect" else kept.path)
    for name in ("Content-Type", "Content-Disposition", "Cache-Control", "X-Content-Type-Options"):
        assert answer[name] == plain[name]
    assert not {"ETag", "Last-Modified", "Accept-Ranges"} & set(answer.headers)


def test_no_file_is_named_that_is_not_there(fetch: Callable[..., Any], settings: Settings) -> None:
    settings.RESULT_SENDFILE = "X-Accel-Redirect"
    Path(Job.objects.get().video.path).write_bytes(WHOLE[:-1])
    for variant in ("video", "thumbnail"):
        assert fetch(variant).status_code == (410 if variant == "video" else 200)
    Path(Job.objects.get().thumbnail.path).unlink()
    assert fetch("thumbnail").status_code == 410
