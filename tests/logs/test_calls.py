"""Calls to the upstream: how long they took, and the id by which the upstream's own log is searched."""

import logging
import re

import pytest
from structlog.contextvars import bound_contextvars

from api.logs.events import LogEvent
from tests.log_lines import Lines
from tests.sora.conftest import REQUEST
from tests.sora.upstream import VIDEO, Upstream, reply
from upstreams.calls.contact import ObservedClient
from upstreams.client import errors
from upstreams.client.dialects import OPENAI

_ID = re.compile(rb"\r\nx-request-id: ([^\r]*)\r\n", re.IGNORECASE)


def client_of(upstream: Upstream, key: str = "sk-4711", **options: object) -> ObservedClient:
    return ObservedClient(
        upstream.url,
        key,
        name="simulator",
        dialect=OPENAI,
        timeout=2,
        retries=0,
        retry_delay=0.1,
        **options,  # type: ignore[arg-type]
    )


def test_a_create_is_a_line_with_its_time_and_carries_the_id(lines: Lines) -> None:
    with Upstream(reply()) as upstream, bound_contextvars(request_id="mine", job_id="j"):
        client_of(upstream).create(REQUEST)
    (line,) = lines(LogEvent.CALL)
    assert (line["call"], line["level"], line["job_id"]) == ("create", "info", "j")
    assert line["duration_ms"] > 0
    assert "error" not in line
    assert _ID.findall(upstream.requests[0]) == [b"mine"]


def test_a_call_that_fails_says_how(lines: Lines) -> None:
    with Upstream(reply(503)) as upstream, pytest.raises(errors.SoraError) as raised:
        client_of(upstream).create(REQUEST)
    assert lines(LogEvent.CALL)[0]["error"] == type(raised.value).__name__


@pytest.mark.parametrize("call", ["retrieve", "list"])
def test_a_poll_is_a_line_at_debug_and_carries_the_id(lines: Lines, debug: None, call: str) -> None:
    answer = {"object": "list", "data": [VIDEO], "has_more": False} if call == "list" else VIDEO
    with Upstream(reply(200, answer)) as upstream, bound_contextvars(request_id="mine"):
        client = client_of(upstream)
        client.retrieve("video_1") if call == "retrieve" else client.list()
    assert [line["level"] for line in lines(LogEvent.CALL)] == ["debug"]
    assert _ID.findall(upstream.requests[0]) == [b"mine"]


def test_without_a_request_there_is_no_id() -> None:
    with Upstream(reply()) as upstream:
        client_of(upstream).retrieve("video_1")
    assert not _ID.search(upstream.requests[0])


def test_a_download_tells_the_id_to_the_upstream_and_to_no_other_host(lines: Lines) -> None:
    with Upstream(reply(200, "file", **{"Content-Type": "video/mp4"})) as storage:
        address = f"http://localhost:{storage.port}/file"
        with Upstream(reply(302, Location=address)) as upstream, bound_contextvars(request_id="mine"):
            client = client_of(upstream, content_hosts=[f"localhost:{storage.port}"])
            with client.download("video_1") as content:
                assert b"".join(content.chunks)
    assert _ID.findall(upstream.requests[0]) == [b"mine"]
    assert not _ID.search(storage.requests[0])
    (line,) = lines(LogEvent.CALL)
    assert (line["call"], line["level"]) == ("download", "info")


def test_the_log_of_the_client_stays_at_debug() -> None:
    assert logging.getLogger("upstreams.client").getEffectiveLevel() == logging.INFO
