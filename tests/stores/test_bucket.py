"""Results are kept in a bucket, and handed over by it."""

import hashlib
import os
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from health import checks
from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient, clip
from upstreams.registry import Upstream
from videos.models import Job, Preview, Submission
from videos.previews import make
from videos.previews.make import make_next
from videos.results import bucket_proof, keep, links
from videos.results.media import media_problem
from videos.results.refetch import is_missing, refetch
from videos.results.store import store
from videos.retention import sweep as sweeping
from videos.retention.removal import remove_result
from videos.retention.sweep import sweep_results
from videos.stores import media
from videos.stores.bucket import Bucket

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bucket")]

URL = "/api/v1/videos"
OTHER_STORE = bool(os.environ.get("TAKEONE_TEST_S3", ""))


def names(bucket: Bucket) -> list[str]:
    """What is in the bucket, below its prefix."""
    return [each.name for each in bucket.listed("videos")]


def on_disk(settings: Settings) -> list[str]:
    """What is on the disk besides the marker."""
    found = (path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file())
    return [path.name for path in found if path.name != ".takeone-media"]


def result(api: Client, job: Job) -> dict[str, Any]:
    return dict(api.get(f"{URL}/{job.pk}").json()["data"]["result"])


def test_a_result_is_in_the_bucket_and_nowhere_else(
    complete: Callable[..., Job], bucket: Bucket, settings: Settings
) -> None:
    job = complete()
    assert str(job.video.name).startswith(f"s3/{bucket.bucket_name}/videos/")
    assert sorted(names(bucket)) == sorted(media.bare(str(file.name)) for file in (job.video, job.thumbnail))
    with media.open_at(str(job.video.name), 0) as file:
        assert file.read() == clip()
    with default_storage.open(str(job.video.name)) as file:
        assert file.read() == clip()
    with pytest.raises(NotImplementedError):
        default_storage.path(str(job.video.name))
    assert on_disk(settings) == []


def test_its_links_are_those_of_the_bucket(
    api: Client, complete: Callable[..., Job], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = complete(prompt="Wide: fjörd")
    monkeypatch.setattr(links.time, "time", lambda: 1_800_000_000.0)
    links._of_bucket.cache_clear()
    shown = result(api, job)
    parts = urlsplit(shown["videoUrl"])
    assert f"{parts.scheme}://{parts.netloc}" == bucket.endpoint_url
    query = parse_qs(parts.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["900"]
    assert "a-secret" not in shown["videoUrl"]
    whole = requests.get(shown["videoUrl"], timeout=TIMEOUT)
    assert (whole.status_code, whole.content) == (200, clip())
    assert whole.headers["Content-Type"] == "video/mp4"
    assert whole.headers["Content-Disposition"] == (
        f"inline; filename=\"wide-fjord-{job.pk}.mp4\"; filename*=utf-8''wide-fj%C3%B6rd-{job.pk}.mp4"
    )
    part = requests.get(shown["videoUrl"], headers={"Range": "bytes=4-7"}, timeout=TIMEOUT)
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert requests.get(shown["thumbnailUrl"], timeout=TIMEOUT).content == b"RIFF....WEBP"
    assert result(api, job) == shown, "a link is the same for a while"
    (listed,) = api.get(URL).json()["data"]
    assert listed["result"] == shown


def test_the_api_sends_the_caller_there(api: Client, complete: Callable[..., Job]) -> None:
    job = complete()
    for method in ("GET", "HEAD"):
        answer = api.generic(method, f"{URL}/{job.pk}/content")
        assert (answer.status_code, answer["Cache-Control"]) == (302, "private, no-store")
        there = requests.request(method, answer["Location"], timeout=TIMEOUT)
        assert (there.status_code, there.content) == (200, clip() if method == "GET" else b"")
        assert there.headers["Content-Length"] == str(len(clip()))
    assert api.get(f"{URL}/{job.pk}/content?variant=poster").status_code == 400
    # A link that was made before its file came into the bucket.
    ours = links.Links.now(f"http://testserver{URL}/").to(job.pk, "video")
    assert Client().get(ours).status_code == 302
    assert Client().get(ours.replace("variant=video", "variant=thumbnail")).status_code == 403


def test_what_is_not_there_is_said_and_fetched_again(
    api: Client, complete: Callable[..., Job], upstream: Upstream, bucket: Bucket
) -> None:
    job = complete()
    default_storage.delete(str(job.video.name))
    default_storage.delete(str(job.video.name))
    assert not requests.get(api.get(f"{URL}/{job.pk}/content")["Location"], timeout=TIMEOUT).ok
    assert api.post(f"{URL}/{job.pk}/sync").status_code == 200
    refetch(Submission.objects.get(job=job), upstream)
    job.refresh_from_db()
    assert requests.get(result(api, job)["videoUrl"], timeout=TIMEOUT).content == clip()
    assert len(names(bucket)) == 2


def test_a_removed_result_leaves_the_bucket(
    api: Client, complete: Callable[..., Job], bucket: Bucket, django_capture_on_commit_callbacks: Any
) -> None:
    job = complete()
    link = result(api, job)["videoUrl"]
    make_next()
    assert len(names(bucket)) == 6
    with django_capture_on_commit_callbacks(execute=True):
        assert remove_result(Job.objects.get(pk=job.pk))
    assert names(bucket) == []
    assert not requests.get(link, timeout=TIMEOUT).ok
    assert api.get(f"{URL}/{job.pk}/content").status_code == 410


def test_a_large_file_goes_in_parts_while_its_lease_is_renewed(
    render: Callable[..., Submission],
    upstream: Upstream,
    sora: ScriptedClient,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # `free` is a box that players pass over.
    free = 20 * 1024 * 1024
    sora.content = clip() + struct.pack(">I4s", free, b"free") + bytes(free - 8)
    submission = render()
    monkeypatch.setattr(keep, "RENEW_SECONDS", -1.0)
    renewed: list[Any] = []
    monkeypatch.setattr(keep, "renew", lambda *_: renewed.append(1))
    parts: list[Any] = []
    events = media.bucket_named(bucket.bucket_name, patient=True).connection.meta.client.meta.events
    events.register("before-call.s3.UploadPart", lambda **_: parts.append(1))
    store(submission, upstream)
    job = Job.objects.get(pk=submission.job_id)
    assert (job.status, job.sha256) == ("completed", hashlib.sha256(sora.content).hexdigest())
    (video,) = (each for each in bucket.listed("videos") if each.name.endswith(".mp4"))
    assert video.size == len(sora.content) == job.file_size
    assert len(parts) == 2
    assert len(renewed) > 2


def test_an_upload_comes_to_an_end(
    render: Callable[..., Submission], upstream: Upstream, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = render()
    sent = keep._Sent

    class Slow(sent):  # type: ignore[valid-type, misc]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._began -= 1_000_000

    monkeypatch.setattr(keep, "_Sent", Slow)
    store(submission, upstream)
    submission.refresh_from_db()
    assert submission.state == "rendered"
    assert "has not taken the file in" in submission.error_message
    monkeypatch.setattr(keep, "_Sent", sent)
    Submission.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    store(submission, upstream)
    assert Job.objects.get(pk=submission.job_id).status == "completed"


# /ready has a connection of its own, which sees what is committed.
@pytest.mark.django_db(transaction=True)
def test_while_there_is_no_bucket_fetching_waits(
    render: Callable[..., Submission],
    upstream: Upstream,
    bucket: Bucket,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submission = render()
    there = settings.RESULT_BUCKETS
    fetched: list[Any] = []
    monkeypatch.setattr(keep, "download", lambda *_: fetched.append(1))
    for changes, words in (
        ({"bucket_name": "no-such-bucket"}, "does not exist"),
        ({"endpoint_url": "http://127.0.0.1:9"}, "cannot be reached"),
    ):
        name = changes.get("bucket_name", bucket.bucket_name)
        settings.RESULT_BUCKETS = {name: {**there[bucket.bucket_name], **changes}}
        settings.RESULT_BUCKET = name
        forget()
        Submission.objects.update(due_at=timezone.now() - timedelta(seconds=1))
        store(submission, upstream)
        submission.refresh_from_db()
        assert (submission.state, submission.attempts) == ("rendered", 0)
        assert f"the bucket {name} {words}" in submission.error_message
        assert words in media_problem()
        assert checks.mount().startswith(f"the bucket {words}"), "the name is for operators"
    assert fetched == [], "nothing is fetched that cannot be kept"
    assert Job.objects.get(pk=submission.job_id).status == "processing"
    monkeypatch.undo()
    settings.RESULT_BUCKETS = there
    settings.RESULT_BUCKET = bucket.bucket_name
    forget()
    Submission.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    store(submission, upstream)
    assert Job.objects.get(pk=submission.job_id).status == "completed"


def forget() -> None:
    """Nothing is known of any bucket."""
    media._bucket.cache_clear()
    bucket_proof._proofs.clear()


@pytest.fixture
def unreachable(bucket: Bucket, settings: Settings) -> Callable[[], None]:
    def cut_off() -> None:
        options = {**settings.RESULT_BUCKETS[bucket.bucket_name], "endpoint_url": "http://127.0.0.1:9"}
        settings.RESULT_BUCKETS = {bucket.bucket_name: options}
        forget()

    return cut_off


def test_a_bucket_that_does_not_answer_is_not_one_that_lost_a_file(
    api: Client, complete: Callable[..., Job], unreachable: Callable[[], None]
) -> None:
    job = complete()
    unreachable()
    assert not is_missing(job)
    answer = api.delete(f"{URL}/{job.pk}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "media_unavailable")
    with pytest.raises(CommandError, match=r"Nothing can be compared: the bucket .* cannot be reached"):
        call_command("check_results")


def test_a_bucket_that_no_setting_names_breaks_no_read(
    api: Client, complete: Callable[..., Job], settings: Settings
) -> None:
    job = complete()
    settings.RESULT_BUCKETS = {}
    settings.RESULT_BUCKET = ""
    links._of_bucket.cache_clear()
    link = result(api, job)["videoUrl"]
    assert link.startswith("http://testserver/")
    assert api.get(URL).status_code == 200
    answer = Client().get(link)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "media_unavailable")
    with pytest.raises(OSError, match="neither RESULT_STORAGE nor RESULT_STORAGE_BEFORE"):
        default_storage.exists(str(job.video.name))


def test_pictures_are_made_of_what_is_in_a_bucket(
    api: Client, complete: Callable[..., Job], bucket: Bucket, settings: Settings
) -> None:
    job = complete()
    assert make_next() == 1
    shown = result(api, job)
    assert requests.get(shown["posterUrl"], timeout=TIMEOUT).headers["Content-Type"] == "image/jpeg"
    assert requests.get(shown["previewUrl"], timeout=TIMEOUT).content[8:12] == b"WEBP"
    sheet = requests.get(shown["spritesheetUrl"], timeout=TIMEOUT).content
    assert sheet[:3] == b"\xff\xd8\xff"
    vtt = b"".join(Client().get(shown["vttUrl"])).decode()
    link = next(line for line in vtt.splitlines() if line.startswith("http")).partition("#")[0]
    assert requests.get(link, timeout=TIMEOUT).content == sheet
    assert on_disk(settings) == []
    assert len(names(bucket)) == 6


@pytest.mark.skipif(not OTHER_STORE, reason="moto looks at no signature")
def test_a_link_that_was_changed_or_has_ended_is_refused(
    api: Client, complete: Callable[..., Job], bucket: Bucket
) -> None:
    job = complete()
    link = result(api, job)["videoUrl"]
    assert requests.get(link, timeout=TIMEOUT).ok
    for there, other in (("Expires=", "Expires=1"), ("Signature=", "Signature=0"), ("-1-", "-2-")):
        assert requests.get(link.replace(there, other, 1), timeout=TIMEOUT).status_code in {400, 403}
    short = media.link_to(str(job.video.name), "GET", 1, "video/mp4", "inline")
    time.sleep(2.1)
    assert requests.get(short, timeout=TIMEOUT).status_code in {400, 403}


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in the bucket has been there for long."""
    monkeypatch.setattr(sweeping, "UNUSED_IN_BUCKET_SECONDS", -24 * 3_600)


def stray(bucket: Bucket, job: Job) -> str:
    """A file of the job that it does not use, of a try that crashed."""
    folder = str(job.video.name).rpartition("/")[0]
    name = default_storage.save(f"{folder}/{job.pk}-1-0badcafe.mp4", ContentFile(b"left"))
    Job.objects.filter(pk=job.pk).update(updated_at=timezone.now() + timedelta(seconds=5))
    return name


def test_what_no_job_uses_is_swept_away(complete: Callable[..., Job], bucket: Bucket, old: None) -> None:
    jobs = [complete() for _ in range(3)]
    used = set(names(bucket))
    strays = [stray(bucket, job) for job in jobs]
    bucket.save("videos/2026/11/readme.txt", ContentFile(b"of somebody"))
    assert sweep_results() == 3
    assert not any(default_storage.exists(name) for name in strays)
    assert set(names(bucket)) == used | {"videos/2026/11/readme.txt"}


def test_what_is_young_is_not_swept_away(complete: Callable[..., Job], bucket: Bucket) -> None:
    name = stray(bucket, complete())
    assert sweep_results() == 0
    assert default_storage.exists(name)


class OneStep:
    """A clock by which a sweep has time for one step, and no more."""

    def __init__(self) -> None:
        self._reads = 0

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        self._reads += 1
        return self._reads * 0.6 * sweeping._LONGEST_SECONDS


def test_a_sweep_goes_on_where_the_last_one_stopped(
    complete: Callable[..., Job], bucket: Bucket, old: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    strays = [stray(bucket, complete()) for _ in range(3)]
    monkeypatch.setattr(sweeping, "_TOGETHER", 2)
    monkeypatch.setattr(sweeping, "time", OneStep())
    # Nine files are there, and each sweep has time for two of them.
    counts = [sweep_results() for _ in range(5)]
    assert sum(counts) == 3
    assert max(counts) < 3
    assert not any(default_storage.exists(name) for name in strays)
    again = stray(bucket, Job.objects.earliest("pk"))
    for _ in range(6):
        sweep_results()
    assert not default_storage.exists(again), "after the end it begins anew"


@pytest.mark.skipif(OTHER_STORE, reason="this store may not be able to list them")
def test_uploads_that_never_ended_are_ended(bucket: Bucket) -> None:
    client = bucket.connection.meta.client
    for key in ("of/ours/videos/2026/11/left.mp4", "of/others/left.mp4"):
        client.create_multipart_upload(Bucket=bucket.bucket_name, Key=key)
    assert bucket.end_uploads("videos", datetime(2000, 1, 1, tzinfo=UTC)) == 0, "moto says they are of 2010"
    sweep_results()
    left = client.list_multipart_uploads(Bucket=bucket.bucket_name)["Uploads"]
    assert [each["Key"] for each in left] == ["of/others/left.mp4"]


def test_every_disagreement_is_listed(
    complete: Callable[..., Job], bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, missing, cut, altered = (complete() for _ in range(4))
    call_command("check_results", "--hash", "--min-age", "0")
    assert capsys.readouterr().out == "Files and jobs agree.\n"
    default_storage.delete(str(missing.video.name))
    default_storage.save(str(cut.video.name), ContentFile(b"short"))
    default_storage.save(str(altered.video.name), ContentFile(bytes(len(clip()))))
    stray(bucket, whole)
    with pytest.raises(CommandError, match="4 disagreements"):
        call_command("check_results", "--hash", "--min-age", "-60")
    found = {line.split("  ")[0] for line in capsys.readouterr().out.splitlines()}
    assert found == {"missing", "size", "hash", "unused"}


def test_previews_of_a_result_that_went_are_not_kept(
    complete: Callable[..., Job], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = complete()
    keep_all = make._keep

    def kept(*given: Any) -> Any:
        found = keep_all(*given)
        Job.objects.filter(pk=job.pk).update(removed_at=timezone.now())
        return found

    monkeypatch.setattr(make, "_keep", kept)
    assert make_next() == 1
    assert not Preview.objects.get(job=job).poster
    assert len(names(bucket)) == 2, "the pictures are gone again"


def test_a_store_that_cannot_list_uploads_is_swept_all_the_same(
    complete: Callable[..., Job], bucket: Bucket, old: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError("the bucket answers NotImplemented")

    monkeypatch.setattr(Bucket, "end_uploads", refuse)
    stray(bucket, complete())
    assert sweep_results() == 1
