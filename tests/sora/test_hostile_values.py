"""No value that an upstream can send raises in the client, or leaves it larger than what is kept."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sora.conftest import KEY
from upstreams.client import answers, bodies, values
from upstreams.client.dialects import OPENAI
from upstreams.client.errors import SoraError
from upstreams.client.exchange import Answer
from upstreams.client.redaction import Redactor
from upstreams.client.types import Unreadable, Video, VideoPage

FIELDS = (
    "id", "status", "progress", "created_at", "completed_at", "expires_at", "model", "prompt", "size",
    "seconds", "error", "data", "last_id", "has_more", "detail", "code", "message", "param", "msg", "loc",
)  # fmt: skip
EXTREMES = st.sampled_from(
    [253402300799, 253402300800, 10**18, 10**400, -(10**400), 1e308, -1e308, float("nan"), float("inf"),
     4102444800, 4102444799.999, 946684799, 946684800, 2**31, 2**63, -1, 0, True, None, "", "\x00", "\ud800",
     "a\x00b", "x" * 20_000, "\u202e", "\x1b[2J", "1e400", "٣", "video_1", [], {}, 99.999, 1e-300]
)  # fmt: skip
LEAVES = EXTREMES | st.integers() | st.floats() | st.text() | st.booleans() | st.none()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=20,
)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after-ms"]),
    st.text()
    | st.sampled_from(
        ["1e300", "nan", "inf", "-5", "9" * 500, "1_0", "Fri, 31 Dec 9999 23:59:59 GMT", ",",
         "Mon, 01 Jan 0001 00:00:00 +2359", "Mon, 99 Jan 2026 00:00:00 GMT", "0001", " ", "1e-400", "\x00"]
    ),
)  # fmt: skip
REDACTOR = Redactor(KEY, ("a prompt",))


def is_bounded(video: Video) -> bool:
    moments = [m for m in (video.created_at, video.completed_at, video.expires_at) if m]
    texts = [video.id, video.status, video.model or "", video.size or "", video.seconds or ""]
    kept = [*texts, video.prompt or ""]
    if video.error:
        kept += [video.error.code, video.error.message]
        assert len(video.error.code) <= values.CODE_MAX_LENGTH
        assert len(video.error.message) <= values.MESSAGE_MAX_LENGTH
    for text in kept:
        text.encode()
        assert "\x00" not in text
    # A century may be added to any of them.
    assert all(m + timedelta(days=36_500) > datetime(2000, 1, 1, tzinfo=UTC) for m in moments)
    assert video.progress is None or 0 <= video.progress <= 100
    OPENAI.match_key(video)
    return (
        max(len(text.encode()) for text in texts) <= values.ID_MAX_BYTES
        and len(video.prompt or "") <= values.PROMPT_MAX_LENGTH
    )


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    payload=st.dictionaries(st.sampled_from(FIELDS), VALUES), headers=HEADERS, status=st.integers(200, 599)
)
def test_no_value_of_any_field_raises_anything_but_a_refusal(payload, headers, status):
    answer = Answer(status, headers, json.dumps(payload).encode())
    for judge in (answers.created, answers.require_success):
        try:
            judge(answer, REDACTOR)
        except SoraError as error:
            str(error).encode()
            wait = getattr(error, "retry_after", None)
            assert wait is None or 0 <= wait <= answers.RETRY_AFTER_MAX_SECONDS
    for read in (Video.parse, VideoPage.parse):
        try:
            found = read(bodies.decoded(answer))
        except Unreadable:
            continue
        assert all(map(is_bounded, getattr(found, "videos", (found,))))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(body=st.binary(max_size=200) | st.text('[]{}",:0a\\ ', max_size=200).map(str.encode))
def test_no_body_raises_anything_but_unreadable(body):
    answer = Answer(200, {}, body)
    try:
        bodies.decoded(answer)
    except Unreadable:
        assert len(body) <= 200
    bodies.complaint_of(answer, REDACTOR)


@pytest.mark.parametrize(
    "moment", [253402300799, 10**400, 1e300, 4102444800, 946684799, float("nan"), -5, True]
)
def test_a_moment_that_no_clock_has_is_none(moment):
    assert Video.parse({"id": "v", "created_at": moment}).created_at is None


@pytest.mark.parametrize("moment", [946684800, 1_700_000_000.5, 4102444799])
def test_a_moment_of_this_century_is_read(moment):
    made = Video.parse({"id": "v", "created_at": moment}).created_at
    assert made is not None
    assert made.timestamp() == moment


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 33 + b"]" * 33,
        b"[" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"[" + b"[]," * 60_000 + b"[]]",
        b'{"a":' + b"1," * 60_000 + b"1}",
    ],
    ids=["deep", "deeper", "objects", "wide", "values"],
)
def test_a_body_is_bounded_before_it_is_built(body, monkeypatch):
    monkeypatch.setattr(bodies.json, "loads", lambda *_: pytest.fail("built"))
    with pytest.raises(Unreadable):
        bodies.parsed(body)


def test_what_stands_in_texts_counts_for_nothing():
    prompt = '[{"\\' * 20_000 + ","
    assert bodies.parsed(json.dumps({"prompt": prompt}).encode()) == {"prompt": prompt}


def test_a_page_of_the_longest_prompts_is_read():
    page = {
        "data": [{"id": f"v{n}", "prompt": "🚀" * 2_000, "created_at": 1_700_000_000} for n in range(100)]
    }
    from upstreams.client.client import MAX_PAGE_BODY_BYTES

    body = json.dumps(page).encode()
    assert len(body) < MAX_PAGE_BODY_BYTES
    assert len(VideoPage.parse(bodies.parsed(body)).videos) == 100
