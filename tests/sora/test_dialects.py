"""Dialects: what is sent, and what is compared."""

import dataclasses

import pytest

from tests.sora.conftest import REQUEST
from upstreams.client.dialects import DIALECTS, OPENAI
from upstreams.client.types import OPERATIONS, CreateRequest, Video

ECHO = {
    "id": "video_1",
    "status": "queued",
    "prompt": REQUEST.prompt,
    "model": REQUEST.model,
    "seconds": REQUEST.seconds,
    "size": REQUEST.size,
}
FULL = dataclasses.replace(REQUEST, negative_prompt="rain", fps=24, seed=0)
EXTRAS = ("negative_prompt", "fps", "seed")
OPEN_SERVER = dataclasses.replace(
    OPENAI, fields={**OPENAI.fields, **{field: field for field in EXTRAS}}, body="multipart"
)


@pytest.mark.parametrize("seconds", ["8", 8, 8.0])
def test_a_request_and_its_video_have_one_key(seconds):
    key = OPENAI.match_key(REQUEST)
    assert key is not None
    assert len(key) == 64
    assert OPENAI.match_key(Video.parse(ECHO | {"seconds": seconds})) == key


@pytest.mark.parametrize("field", ["prompt", "model", "seconds", "size"])
def test_every_echoed_field_counts(field):
    other = dataclasses.replace(REQUEST, **{field: "12"})
    assert OPENAI.match_key(other) != OPENAI.match_key(REQUEST)
    assert OPENAI.match_key(Video.parse(ECHO | {field: "12"})) == OPENAI.match_key(other)


def test_a_request_may_spell_its_seconds_differently():
    assert OPENAI.match_key(dataclasses.replace(REQUEST, seconds="8.0")) == OPENAI.match_key(REQUEST)


def test_fields_cannot_run_into_each_other():
    swapped = dataclasses.replace(REQUEST, model=REQUEST.size, size=REQUEST.model)
    assert OPENAI.match_key(swapped) != OPENAI.match_key(REQUEST)


def test_fields_without_echo_do_not_count():
    assert OPENAI.match_key(FULL) == OPENAI.match_key(REQUEST)


@pytest.mark.parametrize("field", ["prompt", "model", "seconds", "size"])
def test_a_video_that_lacks_an_echo_cannot_be_compared(field):
    assert OPENAI.match_key(Video.parse(ECHO | {field: None})) is None


def test_a_dialect_without_echo_compares_nothing():
    assert dataclasses.replace(OPENAI, echoes=frozenset()).match_key(REQUEST) is None


def test_openai_takes_no_extras():
    assert OPENAI.body_of(FULL) == {
        "prompt": REQUEST.prompt,
        "model": "sora-2",
        "seconds": "8",
        "size": "1280x720",
    }


def test_extras_go_to_those_who_take_them():
    body = OPEN_SERVER.body_of(FULL)
    assert (body["negative_prompt"], body["fps"], body["seed"]) == ("rain", 24, 0)


def test_what_was_not_asked_for_is_not_sent():
    assert OPEN_SERVER.body_of(REQUEST) == OPENAI.body_of(REQUEST)


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_can_create_and_fetch(name):
    dialect = DIALECTS[name]
    assert dialect.name == name
    assert {"prompt", "model", "seconds", "size"} <= set(dialect.fields)
    assert dialect.echoes <= set(dialect.fields)
    assert "video" in dialect.contents
    # Without a list, or an echo by which to recognise it there, nothing proves that it is absent.
    assert not dialect.proves_absence or (dialect.lists and dialect.echoes)
    assert not dialect.cancels or dialect.deletes


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("sglang", "seconds", 8),
        ("trtllm", "seconds", 8),
        ("openrouter", "duration", 8),
        ("azure", "seconds", "8"),
    ],
)
def test_lengths_are_spelt_as_the_server_wants(name, field, value):
    body = DIALECTS[name].body_of(REQUEST)
    assert body[field] == value
    assert type(body[field]) is type(value)
    assert len(body) == (5 if name == "openrouter" else 4)


def test_half_seconds_are_numbers_too():
    body = DIALECTS["sglang"].body_of(dataclasses.replace(REQUEST, seconds="2.5"))
    assert body["seconds"] == 2.5


def test_requests_are_values():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CreateRequest("p", "m", "8", "1x1").prompt = "q"


@pytest.mark.parametrize(
    ("size", "sent"),
    [
        ("1280x720", {"resolution": "720p", "aspect_ratio": "16:9"}),
        ("720x1280", {"resolution": "720p", "aspect_ratio": "9:16"}),
        ("1080x1080", {"resolution": "1080p", "aspect_ratio": "1:1"}),
        ("3840x2160", {"resolution": "4K", "aspect_ratio": "16:9"}),
        ("1024x1792", {"size": "1024x1792"}),
    ],
)
def test_a_usual_size_is_sent_to_openrouter_in_its_own_words(size, sent):
    body = DIALECTS["openrouter"].body_of(dataclasses.replace(REQUEST, size=size))
    assert {name: body[name] for name in body.keys() & {"size", "resolution", "aspect_ratio"}} == sent


def test_an_address_to_call_back_is_sent_where_the_server_takes_one():
    request = dataclasses.replace(REQUEST, callback_url="https://takeone.example/hooks/callbacks/1-x")
    assert DIALECTS["openrouter"].body_of(request)["callback_url"] == request.callback_url
    assert not any(
        "callback_url" in DIALECTS[name].body_of(request) for name in DIALECTS if name != "openrouter"
    )


def test_what_is_extra_goes_along_and_overwrites_nothing():
    request = dataclasses.replace(REQUEST, extra={"cfg_scale": 7.5, "model": "another"}, audio=False)
    body = DIALECTS["openrouter"].body_of(request)
    assert (body["cfg_scale"], body["model"], body["generate_audio"]) == (7.5, REQUEST.model, False)
    assert "generate_audio" not in DIALECTS["openai"].body_of(request)


def from_source(operation, **more):
    return dataclasses.replace(REQUEST, operation=operation, source="video_0", **more)


@pytest.mark.parametrize(
    ("name", "operation", "path", "body"),
    [
        ("openai", "remix", "/videos/video_0/remix", {"prompt": REQUEST.prompt}),
        ("azure", "remix", "/videos/video_0/remix", {"prompt": REQUEST.prompt}),
        ("openai", "edit", "/videos/edits", {"prompt": REQUEST.prompt, "video": {"id": "video_0"}}),
        (
            "litellm",
            "extend",
            "/videos/extensions",
            {"prompt": REQUEST.prompt, "seconds": "8", "video": {"id": "video_0"}},
        ),
        (
            "openrouter",
            "extend",
            "/videos",
            {
                "prompt": REQUEST.prompt,
                "model": "sora-2",
                "duration": 8,
                "resolution": "720p",
                "aspect_ratio": "16:9",
                "previous_job_id": "video_0",
            },
        ),
    ],
)
def test_what_is_made_from_another_video_is_asked_for_as_the_server_wants(name, operation, path, body):
    request = from_source(operation)
    assert DIALECTS[name].path_of(request) == path
    assert DIALECTS[name].content_of(request) == {"json": body}


def test_an_id_in_a_path_stays_one_part_of_it():
    path = OPENAI.path_of(dataclasses.replace(from_source("remix"), source="a?b#c%2F"))
    assert path == "/videos/a%3Fb%23c%252F/remix"


@pytest.mark.parametrize("name", DIALECTS)
def test_only_these_operations_have_a_route(name):
    routes = DIALECTS[name].routes
    assert set(routes) <= set(OPERATIONS)
    for operation, route in routes.items():
        assert route.fields <= set(DIALECTS[name].fields)
        # Else nothing says what it is made from.
        assert route.source or "{source}" in route.path
        assert not route.lengthens or operation == "extend"


def test_a_remix_is_compared_with_what_it_was_made_from_as_well():
    key = OPENAI.match_key(from_source("remix"))
    assert key not in {None, OPENAI.match_key(REQUEST)}
    assert OPENAI.match_key(Video.parse(ECHO | {"remixed_from_video_id": "video_0"})) == key
    assert OPENAI.match_key(Video.parse(ECHO | {"remixed_from_video_id": "video_9"})) != key
    assert OPENAI.match_key(Video.parse(ECHO)) == OPENAI.match_key(REQUEST)


@pytest.mark.parametrize("operation", ["edit", "extend"])
def test_edits_and_extensions_are_compared_with_nothing(operation):
    assert OPENAI.match_key(from_source(operation)) is None


def test_a_dialect_without_echo_compares_no_remix():
    assert dataclasses.replace(OPENAI, echoes=frozenset()).match_key(from_source("remix")) is None


@pytest.mark.parametrize("value", [None, "", " ", "../x", {}, [], True, "x" * 3000])
def test_what_cannot_name_a_video_is_no_source(value):
    assert Video.parse(ECHO | {"remixed_from_video_id": value}).remixed_from is None
