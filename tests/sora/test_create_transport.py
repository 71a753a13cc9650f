"""A create over real sockets: what may be repeated and what may not, and never more than one POST."""

import gc
import json
import socket
import time

import pytest

from tests.sora.conftest import REQUEST
from tests.sora.upstream import (
    VIDEO,
    authority,
    drip,
    raw,
    refused_port,
    reply,
    silence,
    then_close,
    then_reset,
)
from upstreams.client.errors import Busy, Misconfigured, NotSent, OutcomeUnknown, Rejected

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(then_close(), id="closed after reading"),
        pytest.param(then_reset, id="reset after reading"),
        pytest.param(silence, id="never answered"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"."), id="headers drip"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n", every=0.004), id="headers without end"),
        pytest.param(drip(HEAD + b"\r\n", b" "), id="body drips, ends with the connection"),
        pytest.param(drip(HEAD + b"Content-Length: 100000\r\n\r\n", b" "), id="body drips, has a length"),
        pytest.param(drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), id="chunks drip"),
        pytest.param(drip(HEAD + b"\r\n", b" " * 65536, every=0), id="body without end"),
        pytest.param(then_close(HEAD + b'Content-Length: 99\r\n\r\n{"id": "video_'), id="body cut short"),
        pytest.param(then_close(b"nonsense\r\n\r\n"), id="no HTTP"),
        pytest.param(reply(204, b""), id="no content"),
    ],
)
def test_outcome_is_unknown_after_sending(serve, make_client, handler):
    upstream = serve(handler)
    with pytest.raises(OutcomeUnknown) as caught:
        make_client(upstream.url, timeout=0.25).create(REQUEST, deadline=1.2)
    assert not caught.value.answered
    assert len(upstream.requests) == 1
    assert upstream.connections == 1


# urllib3 leaves the socket of such an answer to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_invalid_header_in_the_answer_is_no_proof_of_an_invalid_request(serve, make_client):
    upstream = serve(then_close(HEAD + b"Content-Length: 5, 6\r\n\r\n"))
    try:
        make_client(upstream.url).create(REQUEST)
    except OutcomeUnknown:
        outcome = "unknown"
    gc.collect()
    assert outcome == "unknown"
    assert len(upstream.requests) == 1


def test_refused_is_not_sent(make_client):
    with pytest.raises(NotSent):
        make_client(f"http://127.0.0.1:{refused_port()}/v1").create(REQUEST)


@pytest.mark.parametrize("host", ["nonexistent.invalid", "x" * 64 + ".invalid"])
def test_unknown_name_is_not_sent(make_client, host):
    with pytest.raises(NotSent, match="NameResolutionError"):
        make_client(f"http://{host}/v1").create(REQUEST)


def test_connect_timeout_is_not_sent(serve, make_client, monkeypatch):
    def never(connection, address):
        raise TimeoutError("timed out")

    upstream = serve(reply())
    monkeypatch.setattr("upstreams.client.transport.socket.socket.connect", never)
    with pytest.raises(NotSent):
        make_client(upstream.url).create(REQUEST)
    assert upstream.requests == []


def test_handshake_with_a_server_without_tls_is_not_sent(serve, make_client):
    upstream = serve(reply())
    client = make_client(upstream.url.replace("http://", "https://"))
    with pytest.raises(NotSent):
        client.create(REQUEST, deadline=0.3)
    assert upstream.connections == 1
    assert upstream.requests == []


def test_untrusted_certificate_is_not_sent(serve, make_client):
    upstream = serve(reply(), tls=True)
    with pytest.raises(NotSent):
        make_client(upstream.url).create(REQUEST)
    assert upstream.requests == []


@pytest.fixture
def trusting(monkeypatch, tmp_path):
    bundle = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))


def test_create_over_tls(serve, make_client, trusting):
    upstream = serve(reply(), tls=True)
    assert make_client(upstream.url).create(REQUEST).id == "video_1"
    assert len(upstream.requests) == 1


def test_deadline_holds_over_tls(serve, make_client, trusting):
    upstream = serve(drip(HEAD + b"\r\n", b" "), tls=True)
    with pytest.raises(OutcomeUnknown):
        make_client(upstream.url).create(REQUEST, deadline=0.4)
    assert len(upstream.requests) == 1


def test_missing_ca_bundle_is_not_sent(serve, make_client, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    upstream = serve(reply(), tls=True)
    with pytest.raises(NotSent):
        make_client(upstream.url).create(REQUEST)
    assert upstream.connections == 0


def test_nothing_leaves_once_the_deadline_has_passed(serve, make_client):
    upstream = serve(reply())
    with pytest.raises(NotSent):
        make_client(upstream.url).create(REQUEST, deadline=0)
    assert upstream.connections == 0


def test_a_name_that_resolves_after_the_deadline_is_not_sent(serve, make_client, monkeypatch):
    resolve = socket.getaddrinfo

    def slowly(*args, **kwargs):
        time.sleep(0.3)
        return resolve(*args, **kwargs)

    monkeypatch.setattr("upstreams.client.transport.socket.getaddrinfo", slowly)
    upstream = serve(reply())
    with pytest.raises(NotSent):
        make_client(upstream.url).create(REQUEST, deadline=0.1)
    time.sleep(0.05)
    assert upstream.connections == 0


def test_a_connection_made_after_the_deadline_is_not_used(serve, make_client, monkeypatch):
    connect = socket.socket.connect

    def slowly(connection, address):
        time.sleep(0.3)
        return connect(connection, address)

    upstream = serve(reply())
    monkeypatch.setattr("upstreams.client.transport.socket.socket.connect", slowly)
    with pytest.raises(NotSent):
        make_client(upstream.url).create(REQUEST, deadline=0.1)
    assert upstream.requests == []


def test_a_process_that_was_frozen_posts_nothing_after_the_deadline(serve, make_client, monkeypatch):
    connect = socket.socket.connect

    def frozen(connection, address):
        connect(connection, address)
        time.sleep(0.3)

    upstream = serve(reply())
    monkeypatch.setattr("upstreams.client.transport.socket.socket.connect", frozen)
    # Of its threads the one that was connecting comes first.
    monkeypatch.setattr("upstreams.client.transport.Watch._expire", lambda watch: None)
    with pytest.raises(NotSent):
        make_client(upstream.url).create(REQUEST, deadline=0.1)
    assert upstream.requests == []


def test_all_addresses_share_the_connect_timeout(make_client, monkeypatch):
    tried = []

    def never(connection, address):
        tried.append(connection.gettimeout())
        time.sleep(0.1)
        raise TimeoutError

    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))
    monkeypatch.setattr("upstreams.client.transport.socket.getaddrinfo", lambda *_: [address] * 20)
    monkeypatch.setattr("upstreams.client.transport.socket.socket.connect", never)
    with pytest.raises(NotSent):
        make_client(connect_timeout=0.25).create(REQUEST)
    assert 2 <= len(tried) <= 3
    assert tried == sorted(tried, reverse=True)
    assert tried[0] <= 0.25


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(serve, make_client, status):
    target = serve(reply())
    upstream = serve(reply(status, b"", Location=f"{target.url}/videos?sig=secret"))
    moved = status in {301, 307, 308}
    with pytest.raises(Misconfigured if moved else OutcomeUnknown) as caught:
        make_client(upstream.url).create(REQUEST)
    assert moved or caught.value.answered
    # What to set, and no more of the address.
    assert (target.url.removesuffix("/v1") in str(caught.value)) == moved
    assert "secret" not in str(caught.value)
    assert len(upstream.requests) == 1
    assert target.connections == 0


def test_body_of_a_redirect_is_read_with_a_cap(serve, make_client):
    head = b"HTTP/1.1 307 Elsewhere\r\nLocation: /v2\r\n\r\n"
    upstream = serve(drip(head, b"x" * 65536, every=0))
    with pytest.raises(Misconfigured):
        make_client(upstream.url).create(REQUEST, deadline=30)


@pytest.mark.parametrize(
    ("status", "expected"), [(429, Busy), (401, Misconfigured), (500, OutcomeUnknown), (400, Rejected)]
)
def test_a_status_counts_although_the_body_breaks_off(serve, make_client, status, expected):
    upstream = serve(then_close(b"HTTP/1.1 %d No\r\nContent-Length: 99\r\n\r\n{" % status))
    with pytest.raises(expected) as caught:
        make_client(upstream.url).create(REQUEST)
    assert getattr(caught.value, "answered", True)
    assert len(upstream.requests) == 1


def test_a_2xx_counts_although_the_body_breaks_off(serve, make_client):
    upstream = serve(then_close(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id": "vid'))
    with pytest.raises(OutcomeUnknown) as caught:
        make_client(upstream.url).create(REQUEST)
    assert caught.value.succeeded


def test_a_readable_refusal_is_rejected(serve, make_client):
    upstream = serve(reply(400, {"error": {"message": "no"}}))
    with pytest.raises(Rejected):
        make_client(upstream.url).create(REQUEST)
    assert len(upstream.requests) == 1


def test_create_never_uses_a_kept_alive_connection(serve, make_client):
    upstream = serve(reply())
    client = make_client(upstream.url)
    client.retrieve("video_1")
    client.retrieve("video_1")
    assert upstream.connections == 1
    client.create(REQUEST)
    client.create(REQUEST)
    assert upstream.connections == 3
    assert upstream.requests[-1].startswith(b"POST /v1/videos ")


ACCEPTED = b'{"id": "video_1", "status": "queued"}'


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(raw(HEAD + b"\r\n" + ACCEPTED), id="never ended"),
        pytest.param(raw(HEAD + b"Content-Length: 999\r\n\r\n" + ACCEPTED), id="too long a length"),
        pytest.param(then_close(HEAD + b"Content-Length: 999\r\n\r\n" + ACCEPTED), id="cut short"),
    ],
)
@pytest.mark.parametrize("limits", [(5, 0.2), (0.2, 5)], ids=["deadline", "silence"])
def test_a_video_that_arrived_counts_however_its_answer_ends(serve, make_client, handler, limits):
    timeout, deadline = limits
    upstream = serve(handler)
    assert make_client(upstream.url, timeout=timeout).create(REQUEST, deadline=deadline).id == "video_1"


def test_an_unreachable_proxy_is_not_sent(make_client, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{refused_port()}")
    with pytest.raises(NotSent):
        make_client("http://sora.test/v1").create(REQUEST)


def test_a_proxy_that_refuses_the_tunnel_is_not_sent(serve, make_client, monkeypatch):
    proxy = serve(then_close(b"HTTP/1.1 502 No\r\n\r\n"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(NotSent):
        make_client("https://sora.test/v1").create(REQUEST)
    assert [request.split()[0] for request in proxy.requests] == [b"CONNECT"]


def test_a_forwarding_proxy_that_breaks_off_leaves_it_unknown(serve, make_client, monkeypatch):
    proxy = serve(then_close())
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(OutcomeUnknown):
        make_client("http://sora.test/v1").create(REQUEST)
    assert len(proxy.requests) == 1


def test_a_proxy_whose_sockets_would_not_be_ours_is_refused(make_client, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(Misconfigured) as caught:
        make_client("http://sora.test/v1").create(REQUEST)
    assert str(caught.value.__cause__) == "SOCKS proxies are not supported"


def test_what_is_sent(serve, make_client):
    upstream = serve(reply(200, VIDEO))
    make_client(upstream.url).create(REQUEST)
    head, _, body = upstream.requests[0].partition(b"\r\n\r\n")
    assert b"Authorization: Bearer sk-canary-4711" in head
    assert json.loads(body) == {
        "prompt": REQUEST.prompt,
        "model": "sora-2",
        "seconds": "8",
        "size": "1280x720",
    }
