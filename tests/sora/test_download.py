"""Downloads: where they lead, what counts as a file, and when a file is whole."""

import time
from urllib.parse import urlsplit

import pytest

from tests.sora.conftest import KEY
from tests.sora.upstream import drip, reply, silence, then_close
from upstreams.client.errors import Busy, Misconfigured, NotFound, Rejected, Unavailable

FILE = bytes(range(256)) * 1000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n"
mp4 = reply(200, FILE, Content_Type="video/mp4; x=y")


def at(upstream) -> str:
    """Its host and port, as SORA_CONTENT_HOSTS names them."""
    return f"{urlsplit(upstream.url).hostname}:{upstream.port}"


def fetch(client, variant="video", **options) -> bytes:
    with client.download("video_1", variant, **options) as content:
        return b"".join(content.chunks)


def test_a_file(serve, make_client):
    upstream = serve(mp4)
    with make_client(upstream.url).download("video_1", "thumbnail") as content:
        assert (content.content_type, content.length) == ("video/mp4", len(FILE))
        assert b"".join(content.chunks) == FILE
    assert upstream.requests[0].startswith(b"GET /v1/videos/video_1/content?variant=thumbnail ")
    assert b"Bearer " + KEY.encode() in upstream.requests[0]


def test_a_file_without_length(serve, make_client):
    upstream = serve(then_close(HEAD + b"\r\n" + FILE))
    with make_client(upstream.url).download("video_1") as content:
        assert content.length is None
        assert b"".join(content.chunks) == FILE


def test_a_file_in_chunks(serve, make_client):
    chunked = b"".join(b"400\r\n" + FILE[at : at + 1024] + b"\r\n" for at in range(0, len(FILE), 1024))
    upstream = serve(then_close(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked + b"0\r\n\r\n"))
    assert fetch(make_client(upstream.url)) == FILE


def test_memory_stays_small(serve, make_client):
    upstream = serve(mp4)
    with make_client(upstream.url).download("video_1") as content:
        assert max(map(len, content.chunks)) <= 65536


@pytest.mark.parametrize(
    "answer",
    [
        then_close(HEAD + b"Content-Length: 9999\r\n\r\n" + b"x" * 5000),
        then_close(HEAD + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024 + b"\r\n"),
        then_close(HEAD + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 10),
        then_close(HEAD),
        reply(200, b"", Content_Type="video/mp4"),
        then_close(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nxxxx"),
    ],
    ids=["short", "chunk missing", "chunk short", "headers only", "empty", "not as encoded"],
)
def test_a_broken_file_is_noticed_while_reading(serve, make_client, answer):
    upstream = serve(answer)
    with make_client(upstream.url).download("video_1") as content, pytest.raises(Unavailable):
        list(content.chunks)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("kind", ["application/json", "text/html; charset=utf-8", "application/problem+json"])
def test_an_error_with_status_200_is_no_file(serve, make_client, kind):
    upstream = serve(reply(200, b"{}", Content_Type=kind))
    with pytest.raises(Unavailable):
        fetch(make_client(upstream.url))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, NotFound),
        (400, Rejected),
        (401, Misconfigured),
        (403, Misconfigured),
        (429, Busy),
        (500, Unavailable),
        (204, Unavailable),
        (206, Unavailable),
        (304, Unavailable),
    ],
)
def test_refusals(serve, make_client, status, expected):
    upstream = serve(reply(status, b""))
    with pytest.raises(expected) as caught:
        fetch(make_client(upstream.url, retries=0))
    assert type(caught.value) is expected


@pytest.mark.parametrize("status", [201, 206])
def test_only_a_200_is_a_file(serve, make_client, status):
    upstream = serve(reply(status, FILE, Content_Type="video/mp4"))
    with pytest.raises(Unavailable):
        fetch(make_client(upstream.url, retries=0))


def test_opening_is_tried_again(serve, make_client, naps):
    busy = reply(503, b"", Retry_After="3")
    upstream = serve(
        lambda server, connection: (busy if len(server.requests) < 3 else mp4)(server, connection)
    )
    assert fetch(make_client(upstream.url)) == FILE
    assert naps.taken == [3, 3]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_to_another_host_go_without_the_key(serve, make_client, status):
    storage = serve(mp4)
    upstream = serve(reply(status, b"", Location=f"http://127.0.0.1:{storage.port}/signed?s=1"))
    assert fetch(make_client(upstream.url, content_hosts=[at(storage)])) == FILE
    assert KEY.encode() in upstream.requests[0]
    assert storage.requests[0].startswith(b"GET /signed?s=1 ")
    assert b"authorization" not in storage.requests[0].lower()


def test_redirects_within_the_host_keep_the_key(serve, make_client):
    upstream = serve(
        lambda server, connection: (
            reply(302, b"", Location="/elsewhere") if len(server.requests) == 1 else mp4
        )(server, connection)
    )
    assert fetch(make_client(upstream.url)) == FILE
    assert upstream.requests[1].startswith(b"GET /elsewhere ")
    assert KEY.encode() in upstream.requests[1]


def test_a_key_once_dropped_does_not_come_back(serve, make_client):
    upstream = serve(
        lambda server, connection: (
            reply(302, b"", Location=f"http://127.0.0.1:{storage.port}/")
            if len(server.requests) == 1
            else mp4
        )(server, connection)
    )
    storage = serve(reply(302, b"", Location=f"{upstream.url}/back"))
    fetch(make_client(upstream.url, content_hosts=[at(storage)]))
    assert KEY.encode() not in upstream.requests[1]


def test_redirects_end(serve, make_client):
    upstream = serve(reply(302, b"", Location="/again"))
    with pytest.raises(Unavailable):
        fetch(make_client(upstream.url, retries=0))
    assert len(upstream.requests) == 6


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://[", "http://*/x"])
def test_redirects_that_lead_nowhere(serve, make_client, location):
    upstream = serve(reply(302, b"", Location=location))
    with pytest.raises(Unavailable):
        fetch(make_client(upstream.url, retries=0))


def test_a_storage_that_refuses_its_link_does_not_blame_our_key(serve, make_client):
    storage = serve(reply(403, b""))
    upstream = serve(reply(302, b"", Location=f"{storage.url}/signed"))
    with pytest.raises(Unavailable):
        fetch(make_client(upstream.url, retries=0, content_hosts=[at(storage)]))
    assert len(storage.requests) == 1


@pytest.mark.parametrize(
    "handler",
    [
        silence,
        drip(HEAD + b"X-Slow: ", b"."),
        drip(HEAD + b"\r\n", b"x"),
        drip(HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    ],
    ids=["silence", "headers", "body", "body with length"],
)
def test_deadline_is_wall_clock(serve, make_client, handler):
    upstream = serve(handler)
    client = make_client(upstream.url, clock=time.monotonic)
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        fetch(client, deadline=0.3)
    assert 0.25 < time.monotonic() - begun < 1.5


def test_headers_cut_off_by_the_deadline_open_no_file(serve, make_client):
    upstream = serve(drip(HEAD + b"X-Slow: ", b"."))
    with pytest.raises(Unavailable), make_client(upstream.url).download("video_1", deadline=0.2):
        pytest.fail("opened")


def test_deadline_covers_what_redirects_lead_to(serve, make_client):
    upstream = serve(
        lambda server, connection: (
            reply(302, b"", Location="/slow") if len(server.requests) == 1 else drip(HEAD + b"\r\n", b"x")
        )(server, connection)
    )
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        fetch(make_client(upstream.url), deadline=0.3)
    assert time.monotonic() - begun < 1.5


def test_deadline_holds_on_a_kept_alive_connection_after_a_redirect(serve, make_client):
    slow = drip(HEAD + b"Content-Length: 100000\r\n\r\n", b"x")
    storage = serve(
        lambda server, connection: (mp4 if len(server.requests) == 1 else slow)(server, connection)
    )
    upstream = serve(reply(302, b"", Location=f"{storage.url}/file"))
    client = make_client(upstream.url, retries=0, content_hosts=[at(storage)])
    assert fetch(client) == FILE
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        fetch(client, deadline=0.3)
    assert time.monotonic() - begun < 1.5
    assert storage.connections == 1


def test_leaving_early_closes_the_connection(serve, make_client):
    upstream = serve(mp4)
    client = make_client(upstream.url)
    with client.download("video_1"):
        pass
    assert fetch(client) == FILE
    assert upstream.connections == 2


def test_what_drips_arrives_as_it_drips(serve, make_client):
    upstream = serve(drip(HEAD + b"Content-Length: 100000\r\n\r\n", b"x"))
    with make_client(upstream.url).download("video_1", deadline=10) as content:
        first = next(iter(content.chunks))
    assert 0 < len(first) < 100


def test_headers_that_drip_get_the_time_of_a_read_and_not_that_of_a_file(serve, make_client):
    upstream = serve(drip(HEAD + b"X-Slow: ", b"."))
    client = make_client(upstream.url, timeout=0.5, connect_timeout=0.5, retries=0)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        fetch(client, deadline=30)
    assert time.monotonic() - began < 5


def test_a_file_may_take_longer_than_its_headers(serve, make_client):
    def slowly(server, connection):
        connection.sendall(HEAD + b"Content-Length: 6\r\n\r\n")
        for _ in range(6):
            server.stopping.wait(0.3)
            connection.sendall(b"x")

    client = make_client(serve(slowly).url, timeout=0.5, connect_timeout=0.5)
    assert fetch(client, deadline=30) == b"xxxxxx"
