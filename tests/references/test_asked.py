"""A picture comes in several ways, is kept, sent as the server takes it, and never left out."""

import base64
import hashlib
import io
import json
import os
import threading
import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import connection, transaction
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, IdempotencyKey, User
from api.bodies.form import _Watched
from tests.configured import configure
from tests.references.pictures import bomb, flat, opened, plain
from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient, eventually, scripted
from tests.videos.sending import submit_next
from upstreams.client.dialects import OPENROUTER, VLLM_OMNI
from upstreams.client.types import CreateRequest
from upstreams.clock import database_now, shifted
from upstreams.offer.catalogue import AnyLength, AnySize, Catalogue, Model
from upstreams.registry import Upstream
from videos import tasks
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import retry
from videos.models import Job, JobReference, ReferenceImage, Submission
from videos.references import asked as taking
from videos.references import keep as keeping
from videos.references import sweep as sweeping
from videos.references.fetch import AddressRefused, NotFetched
from videos.references.keep import UNUSED_SECONDS
from videos.references.load import pictures_of
from videos.references.sweep import SWEEP_SECONDS, sweep_references
from videos.states import JobStatus

pytestmark = pytest.mark.django_db

VIDEOS = "/api/v1/videos"
IMAGES = "/api/v1/images"
HD = flat("PNG", (1280, 720))


def data_url(picture: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def ask(api: Client, expected: int = 201, *, key: str = "", address: str = VIDEOS, **fields: Any) -> Any:
    headers = {"idempotency-key": key} if key else {}
    body = {"prompt": "a paper boat", **fields}
    answer = api.post(address, body, content_type="application/json", headers=headers)
    assert answer.status_code == expected, answer.content
    return answer.json()["data"] if expected < 300 else answer.json()["error"]


def form(api: Client, expected: int = 201, *, key: str = "", **fields: Any) -> Any:
    headers = {"idempotency-key": key} if key else {}
    answer = api.post(VIDEOS, {"prompt": "a paper boat", **fields}, headers=headers)
    assert answer.status_code == expected, answer.content
    return answer.json()["data"] if expected < 300 else answer.json()["error"]


def file(picture: bytes = HD, name: str = "boat.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture)


def upload(api: Client, picture: bytes = HD, kind: str = "image/png", expected: int = 201) -> Any:
    answer = api.post(IMAGES, picture, content_type=kind)
    assert answer.status_code == expected, answer.content
    return answer.json()["data"] if expected < 300 else answer.json()["error"]


def sent(upstream: Upstream, sora: ScriptedClient) -> CreateRequest:
    assert submit_next(upstream)
    return sora.creates[-1]


def size_sent(request: CreateRequest, role: str = "input_reference") -> tuple[int, int]:
    assert request.pictures is not None
    return opened(request.pictures[role].data).size


@pytest.fixture
def two_frames(monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """The only upstream; it takes a first and a last frame, of any size."""
    model = Model(
        AnySize(), AnyLength(), takes=frozenset({"input_reference", "last_frame"}), exact_pictures=False
    )
    upstream = scripted(dialect=OPENROUTER, catalogue=Catalogue({"wan": model}, "wan"))
    configure(monkeypatch, upstream)
    return upstream


def test_a_data_url_is_kept_and_sent(api: Client, upstream: Upstream, sora: ScriptedClient) -> None:
    made = ask(api, inputReference=data_url(HD))
    shown = api.get(f"{VIDEOS}/{made['jobId']}").json()["data"]
    image = ReferenceImage.objects.get()
    assert (shown["inputReference"], shown["lastFrame"], shown["imageFit"]) == (str(image.pk), None, None)
    assert JobReference.objects.get().image == image
    request = sent(upstream, sora)
    assert request.pictures is not None
    picture = request.pictures["input_reference"]
    assert (picture.content_type, size_sent(request)) == ("image/png", (1280, 720))
    # What is kept with the attempt has no bytes in it.
    assert Submission.objects.get().request["pictures"] is None


def test_a_file_of_a_form_comes_with_typed_fields(api: Client, upstream: Upstream) -> None:
    made = form(api, inputReference=file(), duration="8", metadata='{"a": [1]}', imageFit="pad")
    job = Job.objects.get(pk=made["jobId"])
    assert (job.duration, job.metadata, job.fitted["image_fit"]) == (8, {"a": [1]}, "pad")
    assert job.fitted["input_reference"] == str(ReferenceImage.objects.get().pk)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"duration": "soon"}, "duration"),
        ({"metadata": "{"}, "metadata"),
        ({"surprise": "1"}, "surprise"),
        ({"audio": "perhaps"}, "audio"),
        ({"inputReference": "no picture"}, "inputReference"),
    ],
)
def test_a_field_of_a_form_that_is_wrong_is_named(api: Client, fields: Any, named: str) -> None:
    error = form(api, 400, **fields)
    assert [each["field"] for each in error["details"]] == [named]
    assert not Job.objects.exists()


def test_a_part_that_is_there_twice_or_is_not_utf8_is_refused(api: Client) -> None:
    assert "more than once" in form(api, 400, inputReference=[file(), file()])["message"]
    assert "more than once" in form(api, 400, seed=["1", "2"])["message"]
    raw = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\xff\xfe\r\n--x--\r\n'
    answer = api.post(VIDEOS, raw, content_type="multipart/form-data; boundary=x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_body")
    answer = api.post(VIDEOS, raw, content_type="multipart/form-data")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_body")
    many = {f"x{number}": "1" for number in range(1_001)}
    assert form(api, 400, **many)["code"] == "malformed_body"
    assert not Job.objects.exists()


def raw_form(*parts: bytes, end: bytes = b"--x--\r\n") -> bytes:
    return b"".join(b"--x\r\nContent-Disposition: " + part + b"\r\n" for part in parts) + end


BOAT = b'form-data; name="prompt"\r\n\r\na boat'


@pytest.mark.parametrize(
    "head",
    [
        b'form-data; name="inputReference"; filename=".."',
        b'form-data; name="inputReference"; filename="pictures/"',
        b'form-data; name="inputReference"; filename="\x01"',
        b"form-data; name=\"inputReference\"; filename*=nope''%ff.png",
        b'form-data; filename="boat.png"',
        b"form-data",
        b'form-data; name="\xff"; filename="boat.png"',
    ],
)
def test_no_part_of_a_form_is_passed_over(api: Client, head: bytes) -> None:
    for parts in ([BOAT, head + b"\r\n\r\n" + HD], [head + b"\r\n\r\n" + HD, BOAT]):
        answer = api.generic("POST", VIDEOS, raw_form(*parts), "multipart/form-data; boundary=x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_body")
    assert not Job.objects.exists()


def test_a_form_that_was_cut_short_is_none(api: Client) -> None:
    picture = b'form-data; name="inputReference"; filename="boat.png"\r\n\r\n' + HD
    whole = raw_form(BOAT, picture)
    for length in (len(whole) - 4, len(whole) - 9, len(whole) - 500, whole.index(b'; name="input'), 60):
        answer = api.generic("POST", VIDEOS, whole[:length], "multipart/form-data; boundary=x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_body"), length
    assert not Job.objects.exists()
    for kind in ("Multipart/Form-Data; boundary=x", "multipart/form-data; boundary=x; charset=idna"):
        assert api.generic("POST", VIDEOS, whole, kind).status_code == 201
    assert all(job.fitted["input_reference"] for job in Job.objects.all())


def test_boundaries_are_found_however_a_body_comes() -> None:
    whole = raw_form(BOAT, b'form-data; name="seed"\r\n\r\n7')
    for size in (1, 2, 3, 4, 5, 7, len(whole)):
        watched = _Watched(io.BytesIO(whole), "multipart/form-data; boundary=x")
        while watched.read(size):
            pass
        assert (watched.parts, watched.is_whole) == (2, True)


@pytest.mark.parametrize("way", ["body", "form", "json"])
def test_a_picture_is_uploaded_and_named(
    api: Client, upstream: Upstream, sora: ScriptedClient, way: str
) -> None:
    if way == "form":
        answer = api.post(IMAGES, {"file": file()})
    elif way == "json":
        answer = api.post(IMAGES, {"url": data_url(HD)}, content_type="application/json")
    else:
        answer = api.post(IMAGES, HD, content_type="image/png")
    assert answer.status_code == 201, answer.content
    image = answer.json()["data"]
    assert (image["width"], image["height"], image["format"]) == (1280, 720, "png")
    assert image["sha256"] == hashlib.sha256(HD).hexdigest()
    assert image["createdAt"].endswith("Z")
    ask(api, inputReference=image["id"])
    ask(api, inputReference=image["id"].upper())
    assert size_sent(sent(upstream, sora)) == (1280, 720)
    assert ReferenceImage.objects.count() == 1


@pytest.mark.parametrize("body", [b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'/>", HD + b"PK\3\4"])
def test_what_is_no_single_picture_is_refused_with_its_reason(api: Client, body: bytes) -> None:
    error = upload(api, body, expected=422)
    assert error["code"] == "image_refused"
    assert error["details"]["reason"] in {"not_an_image", "trailing_data"}
    assert not ReferenceImage.objects.exists()


def test_an_empty_body_is_no_picture(api: Client) -> None:
    assert upload(api, b"", expected=400)["details"][0]["field"] == "file"


def test_a_refused_picture_names_its_field_and_makes_no_job(api: Client, two_frames: Upstream) -> None:
    error = ask(api, 422, inputReference=data_url(HD), lastFrame=data_url(b"GIF89a"))
    assert error["details"] == {"field": "lastFrame", "reason": "not_an_image"}
    assert error["code"] == "image_refused"
    error = form(api, 422, inputReference=file(bomb(20_000, 5_000)))
    assert error["details"] == {"field": "inputReference", "reason": "too_many_pixels"}
    assert not Job.objects.exists()


def test_an_address_is_fetched(
    api: Client, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(taking, "fetch", lambda url: fetched.append(url) or HD)
    ask(api, inputReference="https://pictures.test/boat.png?signature=secret")
    assert fetched == ["https://pictures.test/boat.png?signature=secret"]
    assert size_sent(sent(upstream, sora)) == (1280, 720)


def test_why_an_address_gave_no_picture_is_said(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ask(api, 422, inputReference="http://pictures.test/boat.png")
    assert (error["code"], error["details"]) == ("image_address_refused", {"field": "inputReference"})
    error = ask(api, 422, inputReference="https://127.0.0.1/boat.png")
    assert error["code"] == "image_address_refused"

    def late(url: str) -> bytes:
        raise NotFetched("late", "The picture did not come.")

    monkeypatch.setattr(taking, "fetch", late)
    error = ask(api, 422, inputReference="https://pictures.test/boat.png")
    assert (error["code"], error["details"]) == (
        "image_not_fetched",
        {"field": "inputReference", "reason": "late"},
    )
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "given", ["boat.png", 7, {"url": "x"}, "data:image/png;base64,%%%", "data:text/html;base64,AAAA"]
)
def test_what_is_no_picture_by_its_form_is_400(api: Client, given: Any) -> None:
    error = ask(api, 400, inputReference=given)
    assert error["details"][0]["field"] == "inputReference"


def test_a_picture_of_another_owner_is_as_unknown_as_none(api: Client) -> None:
    other = User.objects.create_user("bob")
    theirs = upload(Client(headers={"x-api-key": ApiKey.issue(other, "other")[1]}))
    for pk in (theirs["id"], str(uuid4())):
        error = ask(api, 400, inputReference=pk)
        assert [(each["field"], each["code"]) for each in error["details"]] == [
            ("inputReference", "not_found")
        ]
    # The same picture is another row for another owner.
    assert upload(api)["id"] != theirs["id"]


def test_a_model_that_takes_no_picture_refuses_it_in_both_modes(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, scripted(catalogue=Catalogue({"plain": Model(AnySize(), AnyLength())}, "plain")))
    for mode in ("nearest", "strict"):
        error = ask(api, 400, inputReference=data_url(HD), fit=mode)
        assert [(each["field"], each["code"]) for each in error["details"]] == [
            ("inputReference", "not_offered")
        ]
    assert not Job.objects.exists()


def test_a_job_with_a_picture_goes_where_it_is_taken(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    blind = scripted(catalogue=Catalogue({"wan": Model(AnySize(), AnyLength())}, "wan"))
    takes = Model(AnySize(), AnyLength(), takes=frozenset({"input_reference"}))
    seeing = scripted(VLLM_OMNI, catalogue=Catalogue({"wan": takes}, "wan"))
    blind, seeing = replace(blind, name="blind"), replace(seeing, name="seeing", order=2)
    configure(monkeypatch, blind, seeing)
    assert Job.objects.get(pk=ask(api, inputReference=data_url(HD))["jobId"]).upstream == "seeing"
    assert Job.objects.get(pk=ask(api)["jobId"]).upstream == "blind"
    # The other one never takes it, also if it has nothing else to do.
    tasks.submit(provider="blind")
    assert len(blind.client.creates) == 1  # type: ignore[attr-defined]
    assert blind.client.creates[0].pictures is None  # type: ignore[attr-defined]
    tasks.submit(provider="seeing")
    assert seeing.client.creates[0].pictures is not None  # type: ignore[attr-defined]


def test_the_size_must_be_that_of_the_video_or_is_made_so(
    api: Client, upstream: Upstream, sora: ScriptedClient
) -> None:
    photo = plain("JPEG", (1600, 1200))
    error = ask(api, 400, inputReference=data_url(photo, "jpeg"))
    assert [(each["field"], each["code"]) for each in error["details"]] == [
        ("inputReference", "size_differs")
    ]
    assert "1600x1200" in error["message"]
    assert "1280x720" in error["message"]
    for how in ("crop", "pad", "stretch"):
        ask(api, inputReference=data_url(photo, "jpeg"), imageFit=how)
        assert size_sent(sent(upstream, sora)) == (1280, 720)
    (kept,) = ReferenceImage.objects.all()
    assert (kept.width, kept.height) == (1600, 1200)


def test_the_shape_of_the_video_is_that_of_the_picture_unless_another_is_asked_for(api: Client) -> None:
    tall = data_url(flat("PNG", (720, 1280)))
    assert (
        ask(api, address=f"{VIDEOS}/estimate", expected=200, inputReference=tall)["submitted"]["size"]
        == "720x1280"
    )
    wide = ask(
        api,
        address=f"{VIDEOS}/estimate",
        expected=200,
        inputReference=tall,
        aspectRatio="16:9",
        imageFit="pad",
    )
    assert wide["submitted"]["size"] == "1280x720"


def test_an_estimate_keeps_nothing(api: Client) -> None:
    ask(api, address=f"{VIDEOS}/estimate", expected=200, inputReference=data_url(HD))
    assert not ReferenceImage.objects.exists()
    image = upload(api)
    ask(api, address=f"{VIDEOS}/estimate", expected=200, inputReference=image["id"])


def test_a_server_of_any_size_gets_the_picture_as_it_is(
    api: Client, two_frames: Upstream, settings: Settings
) -> None:
    first, last = plain("JPEG", (300, 200)), plain("PNG", (200, 300))
    made = ask(api, inputReference=data_url(first, "jpeg"), lastFrame=data_url(last))
    client: Any = two_frames.client
    request = sent(two_frames, client)
    assert (size_sent(request), size_sent(request, "last_frame")) == ((300, 200), (200, 300))
    body = two_frames.dialect.body_of(request)
    assert [each["frame_type"] for each in body["frame_images"]] == ["first_frame", "last_frame"]
    for each, kind in zip(body["frame_images"], ("jpeg", "png"), strict=True):
        head, _, encoded = each["image_url"]["url"].partition(",")
        assert head == f"data:image/{kind};base64"
        opened(base64.b64decode(encoded))
    assert JobReference.objects.filter(job=made["jobId"]).count() == 2


@pytest.mark.parametrize("fields", [{"lastFrame": data_url(HD)}, {"imageFit": "crop"}])
def test_what_makes_no_sense_without_a_first_picture_is_refused(
    api: Client, two_frames: Upstream, fields: Any
) -> None:
    error = ask(api, 400, **fields)
    assert [each["field"] for each in error["details"]] == list(fields)


def test_pictures_have_their_price(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(
        ("1280x720",),
        ("4",),
        takes=frozenset({"input_reference", "last_frame"}),
        prices={"": Decimal("0.10")},
        image_prices={"": Decimal("0.20")},
        per_image=Decimal("0.03"),
    )
    configure(monkeypatch, scripted(OPENROUTER, catalogue=Catalogue({"wan": model}, "wan")))
    assert ask(api)["estimatedCost"] == "0.40"
    assert ask(api, inputReference=data_url(HD))["estimatedCost"] == "0.83"
    assert ask(api, inputReference=data_url(HD), lastFrame=data_url(HD))["estimatedCost"] == "0.86"


def test_the_same_form_under_the_same_key_is_carried_out_once(api: Client) -> None:
    first = form(api, key="k", inputReference=file())
    again = form(api, key="k", inputReference=file(name="another.png"))
    assert first == again
    error = form(api, 422, key="k", inputReference=file(flat("PNG", (1280, 720)) + b""), seed="1")
    assert error["code"] == "idempotency_key_reused"
    error = form(api, 422, key="k", inputReference=file(plain("PNG", (1280, 720))))
    assert error["code"] == "idempotency_key_reused"
    assert Job.objects.count() == 1


def test_a_replay_does_not_fetch_again(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "fetch", lambda url: HD)
    first = ask(api, key="k", inputReference="https://pictures.test/a.png")

    def gone(url: str) -> bytes:
        raise AddressRefused("gone")

    monkeypatch.setattr(taking, "fetch", gone)
    assert ask(api, key="k", inputReference="https://pictures.test/a.png") == first


@pytest.mark.django_db(transaction=True)
def test_nothing_is_fetched_within_a_transaction(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[bool] = []
    monkeypatch.setattr(taking, "fetch", lambda url: inside.append(connection.in_atomic_block) or HD)
    ask(api, key="k", inputReference="https://pictures.test/a.png")
    assert inside == [False]
    assert IdempotencyKey.objects.count() == 1


def test_items_of_a_batch_name_uploaded_pictures(
    api: Client, upstream: Upstream, sora: ScriptedClient
) -> None:
    image = upload(api)["id"]
    body = {
        "defaults": {"inputReference": image},
        "videos": [{"prompt": "one"}, {"prompt": "two", "imageFit": "crop", "aspectRatio": "9:16"}],
    }
    answer = api.post("/api/v1/videos/batch", body, content_type="application/json")
    assert answer.status_code == 201, answer.content
    assert JobReference.objects.count() == 2
    assert {size_sent(sent(upstream, sora)), size_sent(sent(upstream, sora))} == {(1280, 720), (720, 1280)}
    rows = f"prompt,inputReference\none,{image}\ntwo,\n"
    answer = api.post("/api/v1/batches", rows, content_type="text/csv")
    assert answer.status_code == 201, answer.content
    assert JobReference.objects.count() == 3


@pytest.mark.parametrize(
    "given", ["https://pictures.test/a.png", data_url(HD), "0190a5c2-7e3a-7c41-9a53-1f2e3d4c5b6a"]
)
def test_an_item_that_names_no_uploaded_picture_is_told_how(api: Client, given: str) -> None:
    body = {"videos": [{"prompt": "one"}, {"prompt": "two", "inputReference": given}]}
    answer = api.post("/api/v1/videos/batch", body, content_type="application/json")
    assert answer.status_code == 400
    (problem,) = answer.json()["error"]["details"]
    assert problem["field"] == "videos[1].inputReference"
    assert "POST /api/v1/images" in problem["message"]
    assert not Job.objects.exists()


def test_a_retry_sends_the_same_picture(
    api: Client, upstream: Upstream, sora: ScriptedClient, owner: User
) -> None:
    job = Job.objects.get(pk=ask(api, inputReference=data_url(HD))["jobId"])
    first = sent(upstream, sora)
    sora.fail(str(job.submissions.get().upstream_id))
    sweep(upstream)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    retry(job, api_key=None)
    again = sent(upstream, sora)
    assert again.pictures == first.pictures
    job.refresh_from_db()
    assert job.fitted["input_reference"] == first.input_reference


def _path(image: ReferenceImage, settings: Settings) -> Path:
    return Path(settings.MEDIA_ROOT) / image.file


def test_a_picture_whose_file_is_gone_fails_its_job_and_sends_nothing(
    api: Client, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    job = Job.objects.get(pk=ask(api, inputReference=data_url(HD))["jobId"])
    _path(ReferenceImage.objects.get(), settings).unlink()
    assert submit_next(upstream)
    job.refresh_from_db()
    assert (job.status, job.error_code, sora.creates) == ("failed", "image_lost", [])
    assert (job.reservation, job.submissions.get().cost_state) == (None, "returned")


def test_a_folder_that_is_not_mounted_fails_no_job(
    api: Client, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    job = Job.objects.get(pk=ask(api, inputReference=data_url(HD))["jobId"])
    mounted = Path(settings.MEDIA_ROOT)
    away = mounted.with_name("away")
    mounted.rename(away)
    mounted.mkdir()
    assert submit_next(upstream)
    job.refresh_from_db()
    assert (job.status, sora.creates) == ("pending", [])
    mounted.rmdir()
    away.rename(mounted)
    with shifted(timedelta(seconds=10)):
        assert size_sent(sent(upstream, sora)) == (1280, 720)


def test_the_tries_become_rarer_while_the_folder_is_not_mounted(
    api: Client, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    job = Job.objects.get(pk=ask(api, inputReference=data_url(HD))["jobId"])
    Path(settings.MEDIA_ROOT).rename(Path(settings.MEDIA_ROOT).with_name("away"))
    waits = []
    for _ in range(6):
        Job.objects.update(due_at=database_now())
        assert submit_next(upstream)
        job.refresh_from_db()
        waits.append((job.due_at - database_now()).total_seconds())
    assert waits == pytest.approx([5, 10, 20, 40, 60, 60], abs=2)
    assert not sora.creates


def test_a_disk_that_takes_nothing_is_503_and_nothing_is_accepted(
    api: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIA_MIN_FREE_BYTES = 1 << 60
    error = ask(api, 503, inputReference=data_url(HD))
    assert error["code"] == "media_unavailable"
    assert not Job.objects.exists()
    assert not ReferenceImage.objects.exists()


def test_a_picture_whose_file_was_lost_is_kept_again(api: Client, settings: Settings) -> None:
    image = upload(api)
    _path(ReferenceImage.objects.get(), settings).unlink()
    assert upload(api)["id"] == image["id"]
    assert _path(ReferenceImage.objects.get(), settings).is_file()


def test_a_file_without_a_row_is_not_left_behind(
    api: Client, owner: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the database is away")

    monkeypatch.setattr(ReferenceImage.objects, "update_or_create", broken)
    api.raise_request_exception = False
    assert api.post(IMAGES, HD, content_type="image/png").status_code == 500
    assert list(Path(settings.MEDIA_ROOT).rglob("*.png")) == []


def _folder_turn(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """It is the turn of this folder to be swept, at the time that it is."""
    now = time.time()
    turn = int(folder, 16)
    at = (int(now // SWEEP_SECONDS) // 256) * 256 * SWEEP_SECONDS + turn * SWEEP_SECONDS
    monkeypatch.setattr("videos.references.sweep.time.time", lambda: max(at, at + 256 * SWEEP_SECONDS))


def test_unused_pictures_are_swept_after_a_day_and_used_ones_never(api: Client, settings: Settings) -> None:
    used = upload(api, flat("PNG", (1280, 720)))
    ask(api, inputReference=used["id"])
    unused = upload(api, plain("PNG", (64, 48)))
    assert sweep_references() == 0
    with shifted(timedelta(seconds=UNUSED_SECONDS + 60)):
        # Named again, it stays another day.
        ask(api, address=f"{VIDEOS}/estimate", expected=200, inputReference=unused["id"], imageFit="crop")
        ReferenceImage.objects.filter(pk=unused["id"]).update(used_at="2020-01-01T00:00:00Z")
        assert sweep_references() == 1
    assert [str(row.pk) for row in ReferenceImage.objects.all()] == [used["id"]]


@pytest.mark.django_db(transaction=True)
def test_the_file_goes_with_its_row(api: Client, settings: Settings) -> None:
    upload(api)
    path = _path(ReferenceImage.objects.get(), settings)
    with shifted(timedelta(seconds=UNUSED_SECONDS + 60)):
        assert sweep_references() == 1
    assert not path.exists()


def test_old_files_without_a_row_are_swept_and_others_stay(
    api: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(api)
    kept = _path(ReferenceImage.objects.get(), settings)
    stray, young = kept.with_name("stray.png"), kept.with_name("young.png")
    for path in (stray, young):
        path.write_bytes(HD)
    _folder_turn(monkeypatch, kept.parent.name)
    now = sweeping.time.time()
    for path, age in ((kept, 200_000), (stray, 200_000), (young, 3_600)):
        os.utime(path, (now - age, now - age))
    ReferenceImage.objects.update(used_at="2999-01-01T00:00:00Z")
    assert sweep_references() == 1
    assert (kept.exists(), stray.exists(), young.exists()) == (True, False, True)


def test_an_owner_may_have_so_many_unused_pictures(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "UNUSED_MAX", 2)
    first = upload(api, plain("PNG", (32, 32)))
    upload(api, plain("PNG", (33, 32)))
    assert upload(api, plain("PNG", (34, 32)), expected=429)["code"] == "too_many_images"
    assert upload(api, plain("PNG", (32, 32)))["id"] == first["id"]
    ask(api, inputReference=first["id"], imageFit="crop")
    upload(api, plain("PNG", (34, 32)))


def test_fetches_of_one_owner_leave_room_for_others(
    api: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go = threading.Semaphore(0), threading.Event()

    def slow(url: str) -> bytes:
        entered.release()
        assert go.wait(TIMEOUT)
        return HD

    monkeypatch.setattr(taking, "fetch", slow)
    given = taking.GivenPicture(url="https://slow.test/a.png")
    other = User(pk=owner.pk + 1)
    third = User(pk=owner.pk + 2)
    running = [
        threading.Thread(target=taking._checked, args=(given, each), name=f"fetch of {each.pk}")
        for each in (owner, owner, other, other)
    ]
    try:
        for thread in running[:2]:
            thread.start()
            assert entered.acquire(timeout=TIMEOUT)
        with pytest.raises(taking.ImagesBusy):
            taking._checked(given, owner)
        for thread in running[2:]:
            thread.start()
            assert entered.acquire(timeout=TIMEOUT)
        # All places are taken.
        with pytest.raises(taking.ImagesBusy):
            taking._checked(given, third)
    finally:
        go.set()
        for thread in running:
            thread.join(TIMEOUT)
    assert taking._fetching == {}
    assert ask(api, inputReference="https://slow.test/a.png")


def test_checks_wait_for_their_turn_and_not_for_ever(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_CHECK_WAIT_SECONDS", 0.01)
    for _ in range(2):
        assert taking._checks.acquire(timeout=0)
    try:
        with pytest.raises(taking.ImagesBusy):
            taking._checked(taking.GivenPicture(file=io.BytesIO(HD)), owner)
    finally:
        taking._checks.release()
        taking._checks.release()
    assert taking._checked(taking.GivenPicture(file=io.BytesIO(HD)), owner).width == 1280


def test_pictures_that_take_long_to_check_hold_few_threads(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert taking._CHECK_WAIT_SECONDS <= 1
    monkeypatch.setattr(taking, "_CHECK_WAIT_SECONDS", TIMEOUT)
    go, refused = threading.Event(), []
    monkeypatch.setattr(taking, "check", lambda data: go.wait(TIMEOUT))

    def take() -> None:
        try:
            taking._checked(taking.GivenPicture(file=io.BytesIO(HD)), owner)
        except taking.ImagesBusy:
            refused.append(1)

    threads = [threading.Thread(target=take) for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(refused) == 4, seconds=TIMEOUT / 4)
    finally:
        go.set()
        for thread in threads:
            thread.join(TIMEOUT)
    assert len(refused) == 4, "those that waited had their turn"


def test_a_body_with_a_picture_may_be_longer_than_another(api: Client, settings: Settings) -> None:
    settings.REQUEST_BODY_MAX_BYTES = 100
    assert form(api, inputReference=file())
    assert upload(api)
    settings.REFERENCE_FORM_MAX_BYTES = 500
    assert form(api, 413, inputReference=file())["code"] == "payload_too_large"
    assert upload(api, expected=413)["code"] == "payload_too_large"
    assert ask(api, 413, metadata={"x": "y" * 100})["code"] == "payload_too_large"


def test_no_picture_is_in_what_is_shown_of_a_request(upstream: Upstream) -> None:
    request = CreateRequest("boat", "m", "4", "64x48", input_reference=None)
    assert pictures_of(request) is None
    assert json.loads(json.dumps(request.pictures)) is None


@pytest.mark.parametrize("how", [None, "crop"])
@pytest.mark.parametrize("left", [0, 100])
def test_a_picture_whose_file_is_damaged_is_not_sent(
    api: Client, upstream: Upstream, sora: ScriptedClient, settings: Settings, how: str | None, left: int
) -> None:
    fields = {"imageFit": how} if how else {}
    job = Job.objects.get(pk=ask(api, inputReference=data_url(HD), **fields)["jobId"])
    os.truncate(_path(ReferenceImage.objects.get(), settings), left)
    assert submit_next(upstream)
    job.refresh_from_db()
    assert (job.status, job.error_code, sora.creates) == ("failed", "image_lost", [])
    assert (job.reservation, job.submissions.get().cost_state) == (None, "returned")


def test_a_picture_whose_file_has_other_bytes_is_not_fitted(
    api: Client, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    picture = flat("PNG", (640, 360))
    job = Job.objects.get(pk=ask(api, inputReference=data_url(picture), imageFit="crop")["jobId"])
    path = _path(ReferenceImage.objects.get(), settings)
    path.write_bytes(bytes(path.stat().st_size))
    assert submit_next(upstream)
    job.refresh_from_db()
    assert (job.status, job.error_code, sora.creates) == ("failed", "image_lost", [])


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_who_names_a_picture_waits_for_no_other(api: Client, owner: User) -> None:
    pk = UUID(upload(api)["id"])
    found: list[str] = []

    def name() -> None:
        found.append(taking.known("input_reference", pk, owner).id)
        connection.close()

    with transaction.atomic():
        taking.known("input_reference", pk, owner)
        other = threading.Thread(target=name)
        other.start()
        other.join(TIMEOUT)
        assert found == [str(pk)]


@pytest.mark.parametrize("expected", [201, 422])
def test_the_files_of_a_form_are_closed_with_its_request(
    api: Client, monkeypatch: pytest.MonkeyPatch, settings: Settings, expected: int
) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
    made: list[TemporaryUploadedFile] = []
    begin = TemporaryUploadedFile.__init__

    def noted(self: TemporaryUploadedFile, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(TemporaryUploadedFile, "__init__", noted)
    form(api, expected, inputReference=file(HD if expected == 201 else b"no picture"))
    assert [each.closed for each in made] == [True]


def test_how_pictures_are_fitted_may_hold_for_all_items_of_a_file(api: Client) -> None:
    pk = upload(api, flat("PNG", (640, 360)))["id"]
    body = f"prompt,inputReference\na boat,{pk}\n"
    answer = api.generic("POST", "/api/v1/batches?imageFit=crop", body, "text/csv")
    assert answer.status_code == 201, answer.content
    assert Job.objects.get().fitted["image_fit"] == "crop"
    answer = api.generic("POST", "/api/v1/batches?imageFit=crop", "prompt\na boat\n", "text/csv")
    assert [each["field"] for each in answer.json()["error"]["details"]] == ["imageFit"]
    answer = api.generic("POST", "/api/v1/batches?inputReference=https://a.test/b.png", body, "text/csv")
    assert answer.json()["error"]["details"][0]["message"].startswith("Upload the picture first")
