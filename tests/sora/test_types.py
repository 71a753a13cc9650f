"""Parsing what servers really send."""

import json
from datetime import UTC, datetime

import pytest

from upstreams.client.types import Phase, Unreadable, Video, VideoError, VideoPage
from upstreams.client.values import canonical_seconds


def video(**fields) -> Video:
    return Video.parse({"id": "video_1", "status": "queued"} | fields)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("queued", Phase.RUNNING),
        ("in_progress", Phase.RUNNING),
        ("completed", Phase.COMPLETED),
        ("failed", Phase.FAILED),
        ("error", Phase.FAILED),
        ("expired", Phase.EXPIRED),
        ("cancelled", Phase.CANCELLED),
        ("canceled", Phase.CANCELLED),
        ("Completed", Phase.COMPLETED),
        ("processing", Phase.RUNNING),
        ("NOT_START", Phase.RUNNING),
        ("succeeded", Phase.COMPLETED),
        ("SUCCESS", Phase.COMPLETED),
        ("done", Phase.COMPLETED),
        ("finished", Phase.COMPLETED),
        ("FAILURE", Phase.FAILED),
        ("dead", Phase.FAILED),
        ("deleted", Phase.CANCELLED),
        ("", Phase.RUNNING),
        (None, Phase.RUNNING),
        (3, Phase.RUNNING),
    ],
)
def test_phase(status, phase):
    assert video(status=status).phase is phase


def test_status_is_kept_as_sent():
    assert video(status="NOT_START").status == "NOT_START"


@pytest.mark.parametrize(
    "video_id",
    [
        "video_691608967fe8819399e710799dae2ae708872b008b63ff61",
        "video_bGl0ZWxsbTpjdXN0b21fbGxtX3Byb3ZpZGVyOm9wZW5haQ==",
        "video_abc:openai",
        "video_gen_0123abcd",
        "aibrixjob-0123abcd",
        "x" * 2000,
        "é" * 1000,
    ],
)
def test_usable_ids(video_id):
    assert video(id=video_id).id == video_id


@pytest.mark.parametrize(
    "video_id",
    [
        None,
        "",
        7.5,
        10**18,
        True,
        ["v"],
        "x" * 2001,
        "é" * 1001,
        "a b",
        "a/b",
        "a\\b",
        "a\nb",
        "a\x00b",
        "\ud800",
        "\u00a0",
        "..",
        ".",
    ],
)
def test_unusable_ids(video_id):
    with pytest.raises(Unreadable):
        video(id=video_id)


@pytest.mark.parametrize("payload", [None, [], "video_1", 1, {}, {"status": "queued"}, [{"id": "video_1"}]])
def test_no_video(payload):
    with pytest.raises(Unreadable):
        Video.parse(payload)


def test_absent_keys_are_none():
    parsed = Video.parse({"id": "video_1"})
    assert parsed == Video(id="video_1", status="", phase=Phase.RUNNING)


@pytest.mark.parametrize(
    ("sent", "progress"),
    [
        (0, 0),
        (42, 42),
        (99.7, 99),
        (100, 100),
        (101, None),
        (-1, None),
        (float("nan"), None),
        (float("inf"), None),
        pytest.param(10**400, None, id="huge"),
        (True, None),
        ("42", 42),
        ("45%", 45),
        (" 99.9 % ", 99),
        ("101%", None),
        ("-1%", None),
        ("half", None),
        ("9" * 1000, None),
        (None, None),
        ({}, None),
    ],
)
def test_progress(sent, progress):
    assert video(progress=sent).progress == progress


@pytest.mark.parametrize(
    ("sent", "moment"),
    [
        (1763051670, datetime(2025, 11, 13, 16, 34, 30, tzinfo=UTC)),
        (1763051670.5, datetime(2025, 11, 13, 16, 34, 30, 500000, tzinfo=UTC)),
        (0, None),
        (-5, None),
        (1763051670000000, None),
        pytest.param(10**400, None, id="huge"),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        ("soon", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("field", ["created_at", "completed_at", "expires_at"])
def test_moments(field, sent, moment):
    assert getattr(video(**{field: sent}), field) == moment


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        ("8", "8"),
        (8, "8"),
        (8.0, "8"),
        ("8.0", "8"),
        (" 08 ", "8"),
        (7.5, "7.5"),
        ("7.50", "7.5"),
        (0, "0"),
        ("8s", None),
        ("1e1", None),
        ("1_0", None),
        ("\u0668", None),
        (-8, None),
        (float("nan"), None),
        (float("inf"), None),
        pytest.param(10**5000, None, id="huge"),
        (True, None),
        ("", None),
        (None, None),
        ([8], None),
    ],
)
def test_seconds(sent, seconds):
    assert canonical_seconds(sent) == seconds
    assert video(seconds=sent).seconds == seconds


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (None, None),
        ("", None),
        ({}, None),
        ([], None),
        (True, None),
        ({"code": "moderation_blocked", "message": "no"}, VideoError("moderation_blocked", "no")),
        ({"code": 500, "message": "no"}, VideoError("500", "no")),
        ({"code": None, "message": "no"}, VideoError("upstream_error", "no")),
        ({"message": "no"}, VideoError("upstream_error", "no")),
        ({"code": "boom"}, VideoError("boom", "")),
        ({"code": ["x"], "message": {"y": 1}}, VideoError("upstream_error", "")),
        ("no", VideoError("upstream_error", "no")),
        (500, VideoError("500", "")),
        ({"code": "x" * 101, "message": "y" * 2001}, VideoError("x" * 100, "y" * 2000)),
    ],
)
def test_errors(sent, error):
    assert video(error=sent).error == error


@pytest.mark.parametrize("field", ["model", "prompt", "size"])
@pytest.mark.parametrize(("sent", "kept"), [("x", "x"), ("", None), (None, None), (1, None), ({}, None)])
def test_texts(field, sent, kept):
    assert getattr(video(**{field: sent}), field) == kept


def test_texts_can_be_stored():
    parsed = Video.parse(
        json.loads(r'{"id": "v", "status": "a\u0000b", "model": "\ud800", "prompt": "\u0000"}')
    )
    assert (parsed.status, parsed.model, parsed.prompt) == ("ab", "?", None)


def page(**fields) -> VideoPage:
    return VideoPage.parse({"data": [{"id": "a"}, {"id": "b"}], "last_id": "b"} | fields)


@pytest.mark.parametrize(
    ("fields", "next_after"),
    [
        ({"has_more": True}, "b"),
        ({}, "b"),
        ({"has_more": None}, "b"),
        ({"has_more": False}, None),
        ({"has_more": True, "data": []}, None),
        ({"has_more": True, "last_id": None}, None),
        ({"has_more": True, "last_id": ""}, None),
        ({"has_more": True, "last_id": 7}, None),
    ],
)
def test_where_a_list_ends(fields, next_after):
    assert page(**fields).next_after == next_after


def test_a_list_that_goes_on_without_a_way_to_go_on_is_not_whole():
    assert page(has_more=True, last_id=None).unreadable == 1
    assert page(has_more=False, last_id=None).unreadable == 0


@pytest.mark.parametrize("entries", [1, 20, 99, 100])
def test_a_list_without_has_more_is_asked_for_its_rest(entries):
    page = VideoPage.parse({"object": "list", "data": [{"id": f"v{n}"} for n in range(entries)]})
    assert (page.next_after, page.unreadable) == (f"v{entries - 1}", 0)


@pytest.mark.parametrize("last", [{"id": None}, 5, {"id": "a/b"}])
def test_a_list_without_has_more_whose_last_entry_cannot_be_read_is_not_whole(last):
    page = VideoPage.parse({"object": "list", "data": [{"id": "a"}, last]})
    assert (page.next_after, page.unreadable) == (None, 2)


def test_an_empty_page_ends_a_list_unless_it_says_that_there_is_more():
    assert VideoPage.parse({"data": []}).unreadable == 0
    assert VideoPage.parse({"data": [], "has_more": True}).unreadable == 1


def test_unreadable_entries_are_counted():
    read = page(data=[{"id": "a"}, {"id": None}, 5])
    assert [entry.id for entry in read.videos] == ["a"]
    assert read.unreadable == 2
    assert page().unreadable == 0


@pytest.mark.parametrize("payload", [None, [], [{"id": "a"}], {}, {"data": None}, {"data": {}}, "x"])
def test_no_list(payload):
    with pytest.raises(Unreadable):
        VideoPage.parse(payload)
