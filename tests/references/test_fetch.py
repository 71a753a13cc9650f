"""A picture is fetched from the public Internet only, within bounds, and from where it was said to be."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from tests.sora.upstream import Handler, Upstream, authority, drip, refused_port, reply, silence, then_close
from videos.references import fetch as fetching
from videos.references.fetch import AddressRefused, NotFetched, fetch

FILE = bytes(range(256)) * 40
OK = b"HTTP/1.1 200 OK\r\n"
HOST = "pictures.test"
INSIDE = [
    "127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255",
    "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001::1",
]  # fmt: skip


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Has all names resolve to these; each further look-up gets the next list. The names that were asked."""
    asked: list[str] = []

    def become(*answers: list[str]) -> list[str]:
        def lookup(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
            asked.append(host)
            return [
                (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
                for each in answers[min(len(asked), len(answers)) - 1]
            ]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        return asked

    return become


@pytest.fixture
def serve(resolving: Callable[..., list[str]]) -> Iterator[Callable[..., Upstream]]:
    """Starts a server with TLS under the name that all tests ask."""
    running = []

    def start(handler: Handler, name: str = HOST, ca: trustme.CA | None = None) -> Upstream:
        server = Upstream(handler, tls=True)
        server._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (ca or authority()).issue_cert(name).configure_cert(server._tls)
        running.append(server.__enter__())
        resolving(["127.0.0.1"])
        return server

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture(scope="module")
def trusted() -> Iterator[str]:
    with authority().cert_pem.tempfile() as path:
        yield path


@pytest.fixture
def get(trusted: str) -> Callable[..., bytes]:
    """Fetches from a server of this test, whose address counts as a public one."""

    def ask(server: Upstream, path: str = "/a.png", host: str = HOST, **options: Any) -> bytes:
        given = {"permits": lambda _: True, "ports": {server.port}, "authorities": trusted} | options
        return fetch(f"https://{host}:{server.port}{path}", **given)

    return ask


def test_what_is_there(serve: Any, get: Any) -> None:
    server = serve(reply(200, FILE, Content_Type="text/html"))
    assert get(server, "/a.png?X-Signature=%2Fa%3D&b=1#part") == FILE
    (request,) = server.requests
    assert request.startswith(b"GET /a.png?X-Signature=%2Fa%3D&b=1 HTTP/1.1\r\n")
    assert f"Host: {HOST}:{server.port}\r\n".encode() in request


@pytest.mark.parametrize(
    "headers", [b"Transfer-Encoding: chunked\r\n\r\n2800\r\n" + FILE + b"\r\n0\r\n\r\n", b"\r\n" + FILE]
)
def test_without_a_length(serve: Any, get: Any, headers: bytes) -> None:
    assert get(serve(then_close(OK + headers))) == FILE


@pytest.mark.parametrize("inside", INSIDE)
def test_a_host_with_an_inside_address_is_not_connected_to(
    serve: Any, get: Any, resolving: Any, inside: str
) -> None:
    server = serve(reply(200, FILE))
    for addresses in ([inside], ["8.8.8.8", inside]):
        resolving(addresses)
        with pytest.raises(AddressRefused, match="no public address"):
            get(server, permits=fetching.is_global)
    assert server.connections == 0


def test_only_public_addresses_of_port_443_are_permitted_unless_told_otherwise(
    serve: Any, resolving: Any, trusted: str
) -> None:
    server = serve(reply(200, FILE))
    with pytest.raises(AddressRefused, match="443"):
        fetch(f"https://{HOST}:{server.port}/", authorities=trusted)
    with pytest.raises(AddressRefused, match="no public address"):
        fetch(f"https://{HOST}:{server.port}/", authorities=trusted, ports={server.port})
    assert server.connections == 0


def test_a_name_is_resolved_once(serve: Any, get: Any, resolving: Any) -> None:
    """A second answer, of another address, would be connected to unchecked."""
    server = serve(reply(200, FILE))
    asked = resolving(["127.0.0.1"], ["127.0.0.2"])
    judged: list[str] = []
    assert get(server, permits=lambda address: not judged.append(address)) == FILE  # type: ignore[func-returns-value]
    assert (asked, judged) == ([HOST], ["127.0.0.1"])


def test_nobody_learns_which_names_the_inside_has(
    serve: Any, get: Any, resolving: Any, monkeypatch: Any
) -> None:
    server = serve(reply(200, FILE))
    resolving(["10.0.0.1"])
    with pytest.raises(AddressRefused) as inside:
        get(server, permits=fetching.is_global)

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(AddressRefused) as absent:
        get(server)
    assert inside.value.detail == absent.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "http://pictures.test/a.png",
        "http://pictures.test:443/a.png",
        "ftp://pictures.test/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "//pictures.test/a.png",
        "/a.png",
        "",
        "https://",
        "https:///a.png",
        "https://pictures.test:8443/a.png",
        "https://pictures.test:80/a.png",
        "https://pictures.test:99999/a.png",
        "https://user@pictures.test/a.png",
        "https://user:pass@pictures.test/a.png",
        "https://:@pictures.test/a.png",
        "https://evil.test\\@pictures.test/a.png",
        "https://pictures.test/a b.png",
        "https://pictures.test/a\r\nHost: inside",
        "https://pict\tures.test/a.png",
        "https://pictures.test/\x7f",
        "https://[::1/",
        "https://\udcff.test/x",
        "https://localhost/",
        "https://localhost./",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://0/",
        "https://8.8.8.8/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[2606:4700::1111]/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://127\u30020\u30020\u30021/",
        "https://\u24db\u24de\u24d2alhost/",
        "https://pictures.test/" + "x" * fetching.URL_MAX_LENGTH,
    ],
)
def test_an_address_that_is_refused_before_its_name_is_resolved(url: str, resolving: Any) -> None:
    asked = resolving(["127.0.0.1"])
    with pytest.raises(AddressRefused):
        fetch(url, permits=lambda _: True)
    assert asked == []


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("HTTPS://Pictures.TEST:443/a.png", "pictures.test"),
        # requests leaves such a port out.
        ("https://pictures.test:0/a.png", "pictures.test"),
        ("https://pictures.test./a.png", "pictures.test."),
        ("https://b\u00fccher.test/a.png", "xn--bcher-kva.test"),
        ("https://evil.test#@pictures.test/a.png", "evil.test"),
        ("https://0x.pictures.test/a.png", "0x.pictures.test"),
    ],
)
def test_which_name_is_resolved(url: str, host: str, resolving: Any) -> None:
    asked = resolving(["127.0.0.1"])
    with pytest.raises(AddressRefused, match="no public address"):
        fetch(url)
    assert asked == [host]


@pytest.mark.parametrize("name", ["other.test", "localhost"])
def test_a_certificate_must_be_for_the_name(serve: Any, get: Any, name: str) -> None:
    server = serve(reply(200, FILE), name)
    with pytest.raises(NotFetched) as caught:
        get(server)
    assert (caught.value.reason, server.requests) == ("tls", [])


def test_a_certificate_must_be_signed_by_somebody_trusted(serve: Any, get: Any) -> None:
    server = serve(reply(200, FILE), ca=trustme.CA())
    with pytest.raises(NotFetched) as caught:
        get(server)
    assert (caught.value.reason, server.requests) == ("tls", [])
    server = serve(reply(200, FILE))
    with pytest.raises(NotFetched, match="certificate"):
        get(server, authorities=None)


def test_the_name_is_told_in_the_handshake(serve: Any, get: Any) -> None:
    server = serve(reply(200, FILE))
    told: list[str | None] = []
    server._tls.sni_callback = lambda _, name, __: told.append(name)
    get(server)
    assert told == [HOST]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_no_redirect_is_followed(serve: Any, get: Any, status: int) -> None:
    inside = serve(reply(200, FILE))
    server = serve(reply(status, b"", Location=f"https://{HOST}:{inside.port}/"))
    with pytest.raises(NotFetched) as caught:
        get(server, ports={server.port, inside.port})
    assert caught.value.reason == "redirected"
    assert inside.connections == 0


@pytest.mark.parametrize("status", [201, 204, 206, 401, 404, 429, 500])
def test_only_a_200_is_taken(serve: Any, get: Any, status: int) -> None:
    with pytest.raises(NotFetched, match=f"{status} instead") as caught:
        get(serve(reply(status, FILE)))
    assert caught.value.reason == "status"


def test_nothing_of_the_environment_is_used(
    serve: Any, get: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "netrc").write_text(f"machine {HOST} login ada password canary\ndefault login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{refused_port()}")
    server = serve(reply(200, FILE, Set_Cookie="a=b"))
    assert get(server) == get(server) == FILE
    for request in server.requests:
        for header in (b"authorization", b"cookie", b"x-request-id", b"proxy"):
            assert header not in request.lower()


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 20000\r\n\r\n" + bytes(20_000),
        b"Content-Length: 99999999999999999999999999\r\n\r\n",
        b"\r\n" + bytes(20_000),
        b"Transfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + bytes(1024) + b"\r\n") * 20 + b"0\r\n\r\n",
    ],
)
def test_what_is_too_large(serve: Any, get: Any, settings: Any, headers: bytes) -> None:
    settings.REFERENCE_MAX_BYTES = 10_240
    with pytest.raises(NotFetched) as caught:
        get(serve(then_close(OK + headers)))
    assert caught.value.reason == "too_large"


def test_a_body_without_an_end_is_not_read_on(serve: Any, get: Any, settings: Any) -> None:
    settings.REFERENCE_MAX_BYTES = 100_000
    began = time.monotonic()
    with pytest.raises(NotFetched) as caught:
        get(serve(drip(OK + b"\r\n", bytes(60_000))))
    assert caught.value.reason == "too_large"
    assert time.monotonic() - began < settings.REFERENCE_FETCH_SECONDS / 2


def test_the_limit_is_exact(serve: Any, get: Any, settings: Any) -> None:
    settings.REFERENCE_MAX_BYTES = len(FILE)
    assert get(serve(then_close(OK + b"\r\n" + FILE))) == FILE


def test_a_packed_body_is_not_unpacked(serve: Any, get: Any) -> None:
    assert get(serve(reply(200, FILE, Content_Encoding="gzip"))) == FILE


@pytest.mark.parametrize(
    "headers", [b"Content-Length: 9999\r\n\r\nxx", b"Transfer-Encoding: chunked\r\n\r\n10\r\nxx", b"\r\n"]
)
def test_what_broke_off(serve: Any, get: Any, headers: bytes) -> None:
    with pytest.raises(NotFetched) as caught:
        get(serve(then_close(OK + headers)))
    assert caught.value.reason == "incomplete"


@pytest.mark.parametrize(
    "handler",
    [
        silence,
        drip(OK + b"\r\n", b"x"),
        drip(OK + b"Content-Length: 9999\r\n\r\n", b"x"),
        drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drip(OK, b"X: y\r\n", every=0.1),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(OK + b"X: ", b"y"),
    ],
    ids=["silence", "body", "body with length", "chunks", "headers", "continue", "one header"],
)
def test_it_ends_in_time_however_slowly_it_comes(
    serve: Any, get: Any, settings: Any, handler: Handler
) -> None:
    settings.REFERENCE_FETCH_SECONDS = 0.5
    began = time.monotonic()
    with pytest.raises(NotFetched) as caught:
        get(serve(handler))
    assert caught.value.reason == "late"
    assert time.monotonic() - began < 10


def test_a_handshake_that_does_not_end(resolving: Any, get: Any, settings: Any) -> None:
    settings.REFERENCE_FETCH_SECONDS = 0.5
    resolving(["127.0.0.1"])
    with Upstream(silence) as server, pytest.raises(NotFetched) as caught:
        get(server)
    assert caught.value.reason == "late"


def test_headers_have_a_limit(serve: Any, get: Any) -> None:
    line = b"X-Long: " + b"x" * 9_000 + b"\r\n"
    end = b"Content-Length: 2\r\n\r\nxx"
    assert get(serve(then_close(OK + line * 7 + end))) == b"xx"
    with pytest.raises(NotFetched) as caught:
        get(serve(then_close(OK + line * 8 + end)))
    assert caught.value.reason == "headers_too_large"


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"\x15\x03\x01\0\x02\x02\x28"]
)
def test_what_is_no_answer(serve: Any, get: Any, answer: bytes) -> None:
    with pytest.raises(NotFetched) as caught:
        get(serve(then_close(answer)))
    assert caught.value.reason == "unreachable"


def test_a_host_that_is_away(resolving: Any, trusted: str) -> None:
    resolving(["127.0.0.1"])
    port = refused_port()
    with pytest.raises(NotFetched) as caught:
        fetch(f"https://{HOST}:{port}/", permits=lambda _: True, ports={port}, authorities=trusted)
    assert (caught.value.reason, caught.value.extra) == ("unreachable", {"reason": "unreachable"})


def test_no_thread_is_left(serve: Any, get: Any) -> None:
    get(serve(reply(200, FILE)))
    assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
