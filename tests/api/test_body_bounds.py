"""What a body may cost before anything is built from it, and numbers that come back as they were sent."""

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError, ValidationError

from api.bodies.strict_json import MAX_DEPTH, MAX_NAME, read_object
from api.requests import UTF8Request
from videos.models import Job

pytestmark = pytest.mark.django_db
URL = "/api/v1/videos"
MEGABYTE = 1_048_576


def post(client: Client, body: Any, address: str = URL) -> Any:
    raw = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post(address, raw, content_type="application/json")


def read(raw: bytes) -> dict[str, Any]:
    return read_object(raw, "The body")


def nested(levels: int, name: str = "a") -> bytes:
    return (f'{{"{name}":' * levels + "1" + "}" * levels).encode()


COSTLY: dict[str, Callable[[], bytes]] = {
    "850 levels of long names": lambda: nested(850, "n" * 1_200),
    "lists": lambda: b'{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    "one long name over many values": lambda: b'{"' + b"n" * 500_000 + b'":[' + b"1," * 250_000 + b"1]}",
    "many values": lambda: b'{"a":[' + b"[]," * 340_000 + b"[]]}",
    "many names": lambda: ("{" + ",".join(f'"{number:x}":1' for number in range(110_000)) + "}").encode(),
    "the last name twice": lambda: (
        "{" + ",".join(f'"{number:x}":1' for number in range(45_000)) + ',"afc7":1}'
    ).encode(),
    "quotes of a string that does not end": lambda: b'{"a":"' + b'\\"' * 520_000,
    "a string of backslashes that does not end": lambda: b'{"a":"' + b"\\" * 1_040_001,
    "a long number": lambda: b'{"a":' + b"9" * 1_000_000 + b"}",
    "a long fraction": lambda: b'{"a":0.' + b"9" * 1_000_000 + b"}",
    "a number that is none": lambda: b'{"a":' + b"1.e-+" * 200_000 + b"}",
    "a NUL at the end of a deep path": lambda: nested(30, "n" * 250).replace(b":1}", b':"\\u0000"}'),
    "blanks before a colon that is missing": lambda: b'{"a"' + b" " * 1_000_000 + b"}",
    "strings with blanks after each": lambda: b'{"a":[' + (b'""' + b" " * 1_000) * 1_000 + b"]}",
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_body_is_refused_before_it_costs(name: str) -> None:
    raw = COSTLY[name]()
    assert len(raw) <= MEGABYTE
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises((ParseError, ValidationError)) as refused:
            read(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # tracemalloc itself slows it down several times.
    assert time.process_time() - began < 5
    assert peak < 32 * MEGABYTE
    assert len(str(refused.value.detail)) < 500


def test_depth_and_names_end_where_they_are_said_to() -> None:
    assert read(nested(MAX_DEPTH))
    with pytest.raises(ParseError, match="nested too deeply"):
        read(nested(MAX_DEPTH + 1))
    # Brackets and quotes within strings count for nothing.
    assert read(json.dumps({"a": "[{" * 100 + '\\"[' * 100}).encode())
    assert read(json.dumps({"n" * MAX_NAME: 1}).encode())
    with pytest.raises(ParseError, match="has a name of over 256 characters"):
        read(json.dumps({"n" * (MAX_NAME + 1): 1}).encode())
    # A long value is no name.
    assert read(json.dumps({"a": ["n" * 1_000, "x"], "b": "n" * 1_000}).encode())


@pytest.mark.parametrize("address", ["/api/auth/login", "/api/auth/register", "/api/auth/refresh"])
def test_who_is_not_known_may_send_little(client: Client, address: str) -> None:
    body = {"username": "ada", "password": "x" * 16_384}
    response = post(client, body, address)
    assert response.status_code == 413
    assert "16384" in response.json()["error"]["message"]
    assert post(client, nested(850), address).status_code == 400


def served(content_type: str) -> UTF8Request:
    return UTF8Request(RequestFactory().get("/api/v1/videos").environ | {"CONTENT_TYPE": content_type})


@pytest.mark.parametrize("parameters", ['a="' + ";" * 60_000, 'a="' + '\\";' * 20_000, "a=b;" * 15_000])
def test_a_long_content_type_costs_nobody_else_their_time(parameters: str) -> None:
    began = time.process_time()
    request = served(f"multipart/form-data; {parameters}")
    assert time.process_time() - began < 0.5
    assert (request.content_type, request.content_params) == ("multipart/form-data", {})
    assert request.META["CONTENT_TYPE"] == "multipart/form-data"


def test_a_content_type_that_cannot_be_read_is_no_mistake_of_ours() -> None:
    request = served("multipart/form-data; boundary*=bogus''b")
    assert (request.content_type, request.content_params) == ("multipart/form-data", {})
    assert served("multipart/form-data; boundary=B").content_params == {"boundary": "B"}


KEPT = [
    "0",
    "-0.0",
    "1.0",
    "0.1",
    "1e5",
    "1E-5",
    "1e-20",
    "-1.5e-7",
    "123456789012345.6",
    "9999999999999998.0",
    "9007199254740993",
    "18446744073709551615",
    "-9223372036854775808",
    "0e999",
]
REFUSED = [
    "1e308",
    "-1e308",
    "1e16",
    "1e-21",
    "5e-324",
    "1e-999",
    "1e-99999999999999999999",
    "18446744073709551616",
    "-9223372036854775809",
    "9" * 309,
    "0.1234567890123456789",
    "1.00000000000000000001",
]


@pytest.mark.parametrize("number", KEPT)
def test_a_number_that_is_accepted_comes_back_as_it_was_sent(api: Client, number: str) -> None:
    response = post(api, f'{{"prompt": "boat", "metadata": {{"n": [{number}]}}}}')
    assert response.status_code == 201, response.json()
    shown = api.get(f"{URL}/{response.json()['data']['jobId']}").json()["data"]["metadata"]["n"]
    (sent,) = json.loads(f"[{number}]")
    assert shown == [sent]
    assert type(shown[0]) is type(sent)


@pytest.mark.parametrize("number", REFUSED)
def test_a_number_that_would_come_back_as_another_is_refused(api: Client, number: str) -> None:
    response = post(api, f'{{"prompt": "boat", "metadata": {{"n": {number}}}}}')
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "validation_failed", "and not as a body that is no JSON"
    assert [each["field"] for each in error["details"]] == ["metadata.n"]
    assert "send it as a string" in error["message"]
    assert len(error["message"]) < 300
    assert Job.objects.count() == 0


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("text/csv", 'prompt,metadata\nboat,"{""n"": 1e308}"\n'),
        ("application/x-ndjson", '{"prompt": "boat", "metadata": {"n": 1e308}}\n'),
    ],
)
def test_a_number_of_an_upload_is_judged_alike(api: Client, kind: str, row: str) -> None:
    response = api.post("/api/v1/batches", row, content_type=kind)
    assert response.status_code == 400
    assert "1e308 is out of range" in response.json()["error"]["message"]
    assert Job.objects.count() == 0


def test_the_largest_list_is_no_longer_than_what_was_sent(api: Client) -> None:
    """14 KB of numbers in each of 100 jobs."""
    sent = {"n": [1e-20] * 2_300}
    for _ in range(3):
        assert post(api, {"prompt": "boat", "metadata": sent}).status_code == 201
    answer = api.get(URL)
    assert len(answer.content) < 3 * (len(json.dumps(sent)) + 5_000)
    assert all(job["metadata"] == sent for job in answer.json()["data"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=300), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=20), JSON, max_size=4))
def test_any_object_is_read_as_it_is_or_refused(payload: dict[str, Any]) -> None:
    try:
        found = read(json.dumps(payload).encode())
    except (ParseError, ValidationError):
        return
    assert found == payload


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\0e.-1 a', max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        found = read(raw)
    except (ParseError, ValidationError):
        return
    assert found == json.loads(raw)
