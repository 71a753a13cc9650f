"""What is asked for is checked as upstream checks it, and kept as it came."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulator.process import Simulator, error
from tests.simulator.test_openai_sdk import picture

KEYS = {
    *("id", "object", "created_at", "status", "completed_at", "error", "expires_at", "model", "progress"),
    *("prompt", "remixed_from_video_id", "seconds", "size"),
}
WIDE = "'4', '8', '12', '16'"


def test_a_create_in_json_and_one_in_a_form_answer_the_same_thirteen_keys(sim: Simulator) -> None:
    asked = {"prompt": "Straße, 海", "model": "sora-2", "seconds": "8", "size": "1280x720"}
    by_json = sim.call("POST", "/v1/videos", json=asked)
    by_form = sim.call("POST", "/v1/videos", files={name: (None, text) for name, text in asked.items()})
    by_url = sim.call("POST", "/v1/videos", data=asked)
    for answer in (by_json, by_form, by_url):
        assert answer.status_code == 200
        assert set(answer.json()) == KEYS
        assert asked.items() <= answer.json().items()
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["openai-processing-ms"].isdigit()


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({}, ("Missing required parameter: 'prompt'.", "prompt", "missing_required_parameter")),
        ({"prompt": 7}, ("expected a string, but got an integer instead.", "prompt", "invalid_type")),
        ({"prompt": ""}, ("minimum length 1", "prompt", "empty_string")),
        ({"prompt": "x" * 32_001}, ("maximum length 32000", "prompt", "string_above_max_length")),
        ({"seconds": 8}, ("or '20', but got an integer instead.", "seconds", "invalid_type")),
        ({"seconds": True}, ("or '20', but got a boolean instead.", "seconds", "invalid_type")),
        (
            {"seconds": "15"},
            (f"Invalid value: '15'. Supported values are: {WIDE}, and '20'.", "seconds", "invalid_value"),
        ),
        (
            {"size": "1792x1024"},
            ("Supported values are: '720x1280' and '1280x720'.", "size", "invalid_value"),
        ),
        ({"size": 720}, ("but got an integer instead.", "size", "invalid_type")),
        ({"model": "sora-3"}, ("Invalid value: 'sora-3'.", "model", "invalid_value")),
        (
            {"input_reference": "data:image/png;base64,AA"},
            (
                "Invalid type for 'input_reference': expected an object, but got a string instead.",
                "input_reference",
                "invalid_type",
            ),
        ),
        ({"input_reference": {}}, ("exactly one of", "input_reference", None)),
        (
            {"input_reference": {"image_url": "a", "file_id": "b"}},
            ("exactly one of", "input_reference", None),
        ),
        (
            {"input_reference": {"image_url": "data:image/gif;base64,AAAA"}},
            ("unsupported mimetype ('image/gif')", "input_reference.image_url", "unsupported_file_mimetype"),
        ),
        (
            {"input_reference": {"image_url": "data:image/png;base64,AAAA"}},
            ("Invalid image", "input_reference", "invalid_image"),
        ),
        (
            {"input_reference": {"image_url": "http://127.0.0.1:1/a.png"}},
            ("Error while downloading", "input_reference.image_url", "invalid_image_url"),
        ),
        ({"characters": [{"id": "a"}] * 3}, ("array too long", "characters", "array_above_max_length")),
        ({"characters": "a"}, ("expected an array", "characters", "invalid_type")),
    ],
)
def test_what_cannot_be_asked_for_is_refused_and_not_paid(
    sim: Simulator, asked: dict[str, Any], refusal: tuple[str, Any, Any]
) -> None:
    before = len(sim.ledger())
    asked = asked if not asked or "prompt" in asked else {"prompt": "A heron", **asked}
    status, message, param, code = error(sim.call("POST", "/v1/videos", json=asked))
    assert status == 400
    assert refusal[0] in message
    assert (param, code) == refusal[1:]
    assert len(sim.ledger()) == before


def test_the_longest_prompt_is_taken(sim: Simulator) -> None:
    assert sim.create("é" * 32_000).status_code == 200


def test_the_strict_set_has_the_values_of_the_openapi_file(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--strict")
    assert error(simulator.create(seconds="20"))[1] == (
        "Invalid value: '20'. Supported values are: '4', '8', and '12'."
    )
    assert error(simulator.create(seconds=8))[1] == (
        "Invalid type for 'seconds': expected one of '4', '8', or '12', but got an integer instead."
    )
    assert simulator.create(size="1792x1024").status_code == 200
    assert error(simulator.create(model="sora-2-pro", size="1920x1080"))[1] == (
        "Invalid value: '1920x1080'. Supported values are:"
        " '720x1280', '1280x720', '1024x1792', and '1792x1024'."
    )


@pytest.mark.parametrize("size", ["720x1280", "1280x720", "1024x1792", "1792x1024", "1080x1920", "1920x1080"])
def test_the_larger_model_has_six_sizes(sim: Simulator, size: str) -> None:
    answer = sim.create(model="sora-2-pro", size=size, seconds="20")
    assert answer.json()["size"] == size


def test_nested_names_carry_a_reference_in_a_form(sim: Simulator) -> None:
    image = base64.b64encode(picture((720, 1280))).decode()
    form = {
        "prompt": (None, "A heron"),
        "input_reference[image_url]": (None, f"data:image/png;base64,{image}"),
    }
    assert sim.call("POST", "/v1/videos", files=form).status_code == 200
    form["size"] = (None, "1280x720")
    refused = error(sim.call("POST", "/v1/videos", files=form))
    assert refused == (400, "Inpaint image must match the requested width and height", None, None)


def test_a_character_must_exist_and_be_named_in_the_prompt(sim: Simulator) -> None:
    asked = {"prompt": (None, "A heron"), "characters[][id]": (None, "char_none")}
    assert error(sim.call("POST", "/v1/videos", files=asked))[:2] == (
        404,
        "Character with id 'char_none' not found.",
    )


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"", b"[" * 100_000])
def test_malformed_json_is_refused_in_the_envelope(sim: Simulator, body: bytes) -> None:
    answer = sim.call("POST", "/v1/videos", data=body, headers={"Content-Type": "application/json"})
    assert error(answer)[0] == 400


@pytest.mark.parametrize("body", [b"", b"--b\r\n", b"--b\r\n\r\nx\r\n--b--", b"--b\r\nContent-Disposition"])
def test_a_malformed_form_is_refused_in_the_envelope(sim: Simulator, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert error(sim.call("POST", "/v1/videos", data=body, headers=headers))[0] == 400


def test_other_content_types_routes_and_methods_are_refused_in_the_envelope(sim: Simulator) -> None:
    text = sim.call("POST", "/v1/videos", data=b"A heron", headers={"Content-Type": "text/plain"})
    assert error(text)[0] == 400
    assert error(sim.call("GET", "/v1/models"))[:2] == (404, "Invalid URL (GET /v1/models)")
    assert error(sim.call("PUT", "/v1/videos"))[:2] == (405, "Not allowed to PUT on /v1/videos.")


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer  ", "Basic abc"])
def test_a_call_without_a_key_is_refused(sim: Simulator, value: str | None) -> None:
    answer = sim.call("GET", "/v1/videos", headers={"Authorization": value})
    assert error(answer)[0] == 401
    assert "didn't provide an API key" in answer.json()["error"]["message"]


def test_with_a_key_of_its_own_no_other_is_valid(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--api-key", "sk-right-and-long")
    status, message, _, code = error(simulator.call("GET", "/v1/videos"))
    assert (status, code) == (401, "invalid_api_key")
    assert message.startswith("Incorrect API key provided: ")
    right = {"Authorization": "Bearer sk-right-and-long"}
    assert simulator.call("GET", "/v1/videos", headers=right).status_code == 200


def test_extensions_end_at_six_and_at_120_seconds(sim: Simulator) -> None:
    def extend(video_id: str, seconds: str) -> Any:
        asked = {"prompt": "Go on", "seconds": seconds, "video": {"id": video_id}}
        return sim.call("POST", "/v1/videos/extensions", json=asked)

    video_id = sim.made()
    for total in (8, 12, 16, 20, 24, 28):
        answer = extend(video_id, "4").json()
        assert answer["seconds"] == str(total)
        video_id = answer["id"]
    assert "up to 6 times" in error(extend(video_id, "4"))[1]
    video_id = sim.made(seconds="20")
    for _ in range(5):
        video_id = extend(video_id, "20").json()["id"]
    assert "up to 120 seconds" in error(extend(video_id, "4"))[1]
    assert error(sim.call("POST", "/v1/videos/extensions", json={"prompt": "Go on"}))[2] == "seconds"


def test_the_ledger_keeps_the_raw_request_and_hides_the_key(sim: Simulator) -> None:
    body = json.dumps({"prompt": "A raw heron", "seconds": "12", "model": "sora-2-pro", "size": "1280x720"})
    made = sim.call("POST", "/v1/videos", data=body, headers={"Content-Type": "application/json"}).json()
    (entry,) = sim.paid("A raw heron")
    assert entry["id"] == made["id"]
    assert entry["created_at"] == pytest.approx(made["created_at"], abs=1)
    assert (entry["method"], entry["path"], entry["body"]) == ("POST", "/v1/videos", body)
    assert entry["body_encoding"] == "text"
    assert (entry["model"], entry["seconds"], entry["size"]) == ("sora-2-pro", "12", "1280x720")
    assert (entry["price"], entry["billed"], entry["status"]) == ("3.60", True, "completed")
    assert entry["headers"]["content-type"] == "application/json"
    assert entry["headers"]["authorization"].startswith("sha256:")
    assert "sk-test" not in json.dumps(entry)


def test_the_ledger_keeps_bytes_as_base64_and_other_paid_operations_without_a_price(sim: Simulator) -> None:
    image = picture((720, 1280), "WEBP")
    form = {"prompt": (None, "A heron of bytes"), "input_reference": ("a.webp", image, "image/webp")}
    video_id = sim.call("POST", "/v1/videos", files=form).json()["id"]
    (entry,) = sim.paid("A heron of bytes")
    assert entry["body_encoding"] == "base64"
    assert image in base64.b64decode(entry["body"])
    sim.call("POST", f"/v1/videos/{video_id}/remix", json={"prompt": "A remix of bytes"})
    (remix,) = sim.paid("A remix of bytes")
    assert (remix["operation"], remix["price"], remix["seconds"]) == ("remix", None, "4")
    assert sim.ledger(after=entry["number"], limit=1) == [remix]
    assert sim.ledger(limit=0) == []


def test_calls_are_counted_by_operation(sim: Simulator) -> None:
    video_id = sim.made()
    sim.create(seconds="5")
    sim.retrieve(video_id)
    sim.content(video_id)
    sim.ids()
    sim.call("DELETE", f"/v1/videos/{video_id}")
    counts = sim.call("GET", "/_simulator/requests").json()
    received = {name: number for name, number in counts["received"].items() if number}
    assert received == {"create": 2, "retrieve": 1, "content": 1, "list": 1, "delete": 1}
    assert counts["answered"]["create"] == {"200": 1, "400": 1}
