"""What each answer to a create means."""

import dataclasses
import pickle

import pytest
import requests
import responses

from tests.sora.conftest import KEY, PROMPT, REQUEST
from upstreams.client.dialects import OPENAI
from upstreams.client.errors import Busy, Misconfigured, NotFound, OutcomeUnknown, Rejected, SoraError
from upstreams.client.types import Phase

URL = "https://sora.test/v1/videos"
READABLE = {"error": {"message": "no", "type": "invalid_request_error", "param": "size", "code": "bad"}}


@pytest.fixture
def create(make_client):
    def outcome(
        status: int, body: bytes | None = None, json: object = None, content_type: str = "", **headers: str
    ):
        with responses.RequestsMock() as mock:
            content = {"json": json} if body is None else {"body": body}
            if content_type:
                content["content_type"] = content_type
            mock.post(URL, status=status, headers=headers, **content)
            try:
                return make_client().create(REQUEST)
            except SoraError as error:
                return error
            finally:
                assert len(mock.calls) == 1

    return outcome


@pytest.mark.parametrize("status", [200, 201, 202])
def test_accepted(create, status):
    assert create(status, json={"id": "video_1", "status": "queued"}).id == "video_1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"{}",
        b'{"id": ""}',
        b'{"id": 5.5}',
        b'{"id": "' + b"x" * 10_000 + b'"}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"id": "video_1", "pad": "' + b"x" * 1024 * 1024 + b'"}',
    ],
    ids=["empty", "html", "no id", "empty id", "broken number", "long id", "deep", "no utf-8", "oversized"],
)
def test_accepted_but_unreadable(create, body):
    error = create(200, body)
    assert type(error) is OutcomeUnknown
    assert not error.answered


@pytest.mark.parametrize("status", [400, 405, 413, 415, 422, 451])
@pytest.mark.parametrize(
    "json",
    [READABLE, {"error": "no"}, {"error": {"message": "no"}}, {"detail": "no"}, {"detail": [{"msg": "no"}]}],
)
def test_readable_refusals(create, status, json):
    error = create(status, json=json)
    assert type(error) is Rejected
    assert (error.status, error.message, str(error)) == (status, "no", "no")


@pytest.mark.parametrize(
    ("json", "code", "param"),
    [
        (READABLE, "bad", "size"),
        ({"error": {"message": "no", "code": 7}}, "7", None),
        ({"error": "no"}, None, None),
        (
            {"detail": [{"loc": ["body", "seconds"], "msg": "no", "type": "enum"}]},
            "enum",
            "seconds",
        ),
    ],
)
def test_refusals_name_code_and_parameter(create, json, code, param):
    error = create(400, json=json)
    assert (error.code, error.param) == (code, param)


def test_a_refusal_without_message_shows_its_code(create):
    assert create(400, json={"error": {"message": None, "code": "bad"}}).message == "bad"


UNREADABLE = [b"", b"<html>", b"{}", b"[]", b'"no"', b'{"error": null}', b'{"error": {}}', b'{"detail": ""}']


@pytest.mark.parametrize("status", [400, 405, 413, 422, 431])
@pytest.mark.parametrize("body", UNREADABLE)
def test_a_refusal_is_one_whatever_its_body_looks_like(create, status, body):
    error = create(status, body, content_type="text/html")
    assert type(error) is Rejected
    assert error.message == f"HTTP {status} without a readable error"


@pytest.mark.parametrize("status", [408, 409, 425, 460, 499, 500])
@pytest.mark.parametrize("body", UNREADABLE)
def test_a_status_that_proves_nothing_does_not_by_its_body_either(create, status, body):
    error = create(status, body)
    assert type(error) is OutcomeUnknown
    assert error.answered


def test_a_refusal_with_its_error_at_the_top_is_read(create):
    # TensorRT-LLM, and vLLM before it nested its errors.
    json = {"object": "error", "message": "no", "type": "BadRequestError", "param": "size", "code": 400}
    error = create(400, json=json)
    assert (type(error), error.message, error.code, error.param) == (Rejected, "no", "400", "size")


def test_a_refusal_in_plain_text_is_read(create):
    error = create(413, b"Request body\n too large\n", content_type="text/plain; charset=utf-8")
    assert error.message == "Request body too large"


@pytest.mark.parametrize("status", [400, 500])
def test_an_error_that_carries_a_failed_video_is_an_accepted_create(create, status):
    video = create(
        status, json={"id": "video_1", "status": "failed", "error": {"code": status, "message": "no"}}
    )
    assert (video.id, video.phase, video.error.code) == ("video_1", Phase.FAILED, str(status))


@pytest.mark.parametrize("json", [{"id": "req_1", "error": "no"}, {"id": "video_1", "status": "queued"}])
def test_an_error_with_an_id_of_something_else_is_no_video(create, json):
    assert type(create(400, json=json)) is Rejected


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b"[]", b'{"id": null}', b'{"id": "a/b"}', b'{"id": true}']
)
def test_a_2xx_without_a_usable_id_says_that_it_was_accepted(create, status, body):
    error = create(status, body)
    assert type(error) is OutcomeUnknown
    assert (error.succeeded, error.answered) == (True, False)


@pytest.mark.parametrize("status", [301, 400, 408, 500, 503])
def test_no_other_status_says_that_it_was_accepted(create, status):
    assert not getattr(create(status, b""), "succeeded", False)


@pytest.mark.parametrize("status", [300, 304, 408, 409, 425, 500, 502, 503, 504, 529, 599])
def test_ambiguous_statuses(create, status):
    error = create(status, json=READABLE)
    assert type(error) is OutcomeUnknown
    assert error.answered


@pytest.mark.parametrize("status", [409, 503])
def test_an_unknown_outcome_says_for_how_long_the_upstream_wants_to_be_left_alone(create, status):
    assert create(status, json=READABLE, **{"Retry-After": "120"}).retry_after == 120
    assert create(status, json=READABLE).retry_after is None


@pytest.mark.parametrize("status", [401, 402, 403])
@pytest.mark.parametrize("body", [b"<html>", b'{"error": {"message": "no"}}'])
def test_configuration(create, status, body):
    error = create(status, body)
    assert type(error) is Misconfigured
    assert error.status == status


@pytest.mark.parametrize(
    ("metadata", "headers", "wait"),
    [
        ({"reason": "in_flight_budget_exhausted"}, {}, None),
        ({"reason": "in_flight_budget_exhausted"}, {"Retry-After": "20"}, 20),
        ({}, {"Retry-After": "20"}, 20),
    ],
)
def test_a_402_that_passes_by_itself_is_waited_for(create, metadata, headers, wait):
    error = create(402, json={"error": {"code": 402, "message": "wait", "metadata": metadata}}, **headers)
    assert type(error) is Busy
    assert error.retry_after == wait


def test_a_402_for_want_of_credits_pauses(create):
    metadata = {"limit_source": "openrouter_credits"}
    error = create(
        402, json={"error": {"code": 402, "message": "Insufficient credits.", "metadata": metadata}}
    )
    assert type(error) is Misconfigured


@pytest.mark.parametrize("body", [b"<html>", b'{"error": {"message": "no"}}'])
def test_not_found(create, body):
    error = create(404, body)
    assert type(error) is NotFound
    assert error.status == 404


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "3600"}, 3600.0),
        ({"retry-after-ms": "1500", "Retry-After": "7"}, 1.5),
        ({"retry-after-ms": "x", "Retry-After": "7"}, 7.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "tomorrow"}, None),
    ],
)
def test_busy(create, headers, seconds):
    error = create(429, b"slow down", **headers)
    assert type(error) is Busy
    assert error.retry_after == seconds


def test_a_spent_quota_is_nothing_to_wait_for(create):
    body = b'{"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}'
    error = create(429, body, **{"Retry-After": "7"})
    assert type(error) is Misconfigured
    assert error.status == 429


def test_what_a_refusal_says_can_be_stored(create):
    error = create(400, b'{"error": {"message": "no\\u0000t so", "code": "a\\u0000b", "param": "\\ud800x"}}')
    assert (error.message, error.code, error.param) == ("not so", "ab", "?x")


@pytest.mark.parametrize(
    "failure",
    [
        requests.ConnectionError("refused"),
        requests.exceptions.SSLError("bare"),
        requests.ConnectTimeout(),
        requests.ReadTimeout(),
        requests.exceptions.InvalidHeader(),
        OSError(),
    ],
)
@responses.activate
def test_what_our_own_connections_did_not_see_counts_as_sent(make_client, failure):
    responses.post(URL, body=failure)
    with pytest.raises(OutcomeUnknown) as caught:
        make_client().create(REQUEST)
    assert not caught.value.answered
    assert caught.value.__cause__ is failure


def test_what_cannot_be_requested_is_misconfigured(make_client):
    with pytest.raises(Misconfigured) as caught:
        make_client("https://*.test/v1").create(REQUEST)
    assert caught.value.status is None


@pytest.mark.parametrize(
    "json", [{"error": {"message": f"{KEY} and {PROMPT}"}}, {"detail": f"{KEY}, {PROMPT}"}]
)
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_no_message_shows_key_or_prompt(create, status, json):
    error = create(status, json=json)
    assert KEY not in str(error)
    assert PROMPT not in str(error)
    assert "<redacted, 30 characters>" in str(error)


def test_long_messages_are_cut(create):
    assert len(create(400, json={"error": "x" * 10_000}).message) == 501


@responses.activate
def test_multipart_for_those_who_want_it(make_client):
    responses.post(URL, json={"id": "video_1"})
    make_client(dialect=dataclasses.replace(OPENAI, body="multipart")).create(REQUEST)
    sent = responses.calls[0].request
    assert sent.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'name="seconds"\r\n\r\n8\r\n' in sent.body
    assert b"filename" not in sent.body


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("x", answered=True),
        Busy("x", retry_after=2.0),
        Misconfigured("x", status=401),
        Rejected("x", status=422, code="c", param="p"),
        NotFound("x", code="c"),
    ],
)
def test_errors_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == "x"


@pytest.mark.parametrize("status", [400, 429])
@pytest.mark.parametrize(
    "error",
    [
        {"message": "Billing hard limit has been reached", "code": "billing_hard_limit_reached"},
        {"message": "Your account is not active", "type": "billing_not_active", "code": None},
        {"message": "Budget has been exceeded!", "type": "budget_exceeded", "param": None, "code": "400"},
    ],
)
def test_without_money_nothing_is_wrong_with_the_request(create, status, error):
    refused = create(status, json={"error": error})
    assert type(refused) is Misconfigured
    assert (refused.status, str(refused)) == (status, error["message"])


@pytest.mark.parametrize(
    ("status", "code"), [(501, None), (503, "model_not_found"), (500, "model_not_found")]
)
def test_what_a_server_cannot_do_is_refused_for_this_job_alone(create, status, code):
    refused = create(status, json={"error": {"message": "No channel for this model", "code": code}})
    assert type(refused) is Rejected
    assert (refused.status, refused.code) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        {"id": 7, "status": "queued"},
        {"task_id": "7", "status": "NOT_START"},
        {"code": "success", "data": {"id": "7", "status": "queued"}},
        {"code": "success", "data": {"task_id": 7, "status": "SUBMITTED"}},
    ],
)
def test_an_id_is_found_where_gateways_have_it(create, body):
    assert create(200, json=body).id == "7"


def test_a_key_that_litellm_does_not_know_pauses(create):
    body = {"error": {"message": "No connected db.", "type": "no_db_connection", "code": "400"}}
    error = create(400, json=body)
    assert type(error) is Misconfigured


def test_the_wait_that_litellm_renames_is_kept(create):
    error = create(429, json=READABLE, **{"llm_provider-retry-after": "30"})
    assert (type(error), error.retry_after) == (Busy, 30)
