"""A download is sent on only to where the operator allowed it, and never to an inside address."""

import socket
from collections.abc import Callable

import pytest

from tests.sora.conftest import KEY
from tests.sora.test_download import FILE, at, fetch, mp4
from tests.sora.upstream import authority, reply
from upstreams.client.errors import Unavailable
from upstreams.client.files import redirects
from upstreams.client.files.redirects import ContentHosts, NotAllowed, Origin, Route, is_global

INSIDE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "2001::1", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_are_not_the_internet(address: str) -> None:
    assert not is_global(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_internet(address: str) -> None:
    assert is_global(address)


def resolving(monkeypatch: pytest.MonkeyPatch, **addresses: list[str]) -> list[str]:
    """Has names resolve to these; the names that were looked up."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def lookup(host: str, port: int, *args: object, **kwargs: object) -> list[tuple[object, ...]]:
        asked.append(host)
        names = {name.replace("_", "."): found for name, found in addresses.items()}
        if host in names:
            return [
                (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
                for each in names[host]
            ]
        return real(host, port, *args, **kwargs)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


@pytest.mark.parametrize("hosts", [[], ["files.test"], ["127.0.0.1"]])
def test_no_other_host_or_port_is_asked_unless_it_is_named(serve, make_client, hosts) -> None:
    inside = serve(mp4)
    upstream = serve(reply(302, b"", Location=f"http://127.0.0.1:{inside.port}/secrets"))
    with pytest.raises(Unavailable, match="SORA_CONTENT_HOSTS"):
        fetch(make_client(upstream.url, retries=0, content_hosts=hosts))
    assert inside.connections == 0


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"]])
def test_a_named_host_with_an_inside_address_is_not_connected_to(
    serve, make_client, monkeypatch, addresses
) -> None:
    inside = serve(mp4)
    upstream = serve(reply(302, b"", Location=f"http://files.test:{inside.port}/x"))
    # The upstream's own address counts as one of the Internet here.
    resolving(monkeypatch, files_test=addresses)
    monkeypatch.setattr(redirects.Route, "begins_at", lambda *_: None)
    with pytest.raises(Unavailable, match="AddressNotAllowed"):
        fetch(make_client(upstream.url, retries=0, content_hosts=["*", f"files.test:{inside.port}"]))
    assert inside.connections == 0


def test_a_kept_alive_connection_is_judged_as_well(serve, make_client, monkeypatch) -> None:
    inside = serve(mp4)
    upstream = serve(reply(302, b"", Location=f"http://127.0.0.1:{inside.port}/x"))
    client = make_client(upstream.url, retries=0, content_hosts=[at(inside)])
    assert fetch(client) == FILE
    monkeypatch.setattr(redirects.Route, "begins_at", lambda *_: None)
    with pytest.raises(Unavailable, match="AddressNotAllowed"):
        fetch(client)
    assert len(inside.requests) == 1


def test_the_address_that_was_checked_is_the_one_connected_to(serve, make_client, monkeypatch) -> None:
    storage = serve(mp4)
    upstream = serve(reply(302, b"", Location=f"http://files.test:{storage.port}/x"))
    asked = resolving(monkeypatch, files_test=["127.0.0.1"])
    client = make_client(upstream.url, retries=0, content_hosts=[f"files.test:{storage.port}"])
    assert fetch(client) == FILE
    assert asked.count("files.test") == 1
    assert KEY.encode() not in storage.requests[0]


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1"])
def test_a_local_upstream_opens_no_way_to_the_clouds_own_addresses(address: str) -> None:
    route = Route("http://127.0.0.1:9000/v1", ContentHosts(["*"]))
    route.begins_at("127.0.0.1")
    _, permits = route.next("http://127.0.0.1:9000/v1/videos/1/content", "http://files.test/x")
    assert permits is not None
    assert permits("127.0.0.1")
    assert not permits(address)


@pytest.mark.parametrize("peer", ["8.8.8.8", None])
def test_an_upstream_whose_name_leads_inside_by_now_opens_no_way_there(
    monkeypatch: pytest.MonkeyPatch, peer: str | None
) -> None:
    asked = resolving(monkeypatch, api_test=["127.0.0.1"])
    route = Route("http://api.test/v1", ContentHosts(["*"]))
    route.begins_at(peer)
    _, permits = route.next("http://api.test/v1/videos/1/content", "http://inside.test/x")
    assert permits is not None
    assert not permits("127.0.0.1")
    assert asked == []


@pytest.mark.parametrize("kept_alive", [False, True])
def test_the_address_of_the_upstream_is_that_of_its_connection(
    serve, make_client, monkeypatch, kept_alive: bool
) -> None:
    storage = serve(mp4)
    redirect = reply(302, b"", Location=f"http://127.0.0.1:{storage.port}/x")

    def answer(upstream, connection):
        (redirect if b"/content" in upstream.requests[-1] else reply())(upstream, connection)

    upstream = serve(answer)
    client = make_client(upstream.url, retries=0, content_hosts=[at(storage)])
    peers = []
    noted = redirects.Route.begins_at

    def note(self, peer):
        peers.append(peer)
        noted(self, peer)

    monkeypatch.setattr(redirects.Route, "begins_at", note)
    if kept_alive:
        client.retrieve("video_1")
    assert fetch(client) == FILE
    assert peers == ["127.0.0.1"]
    assert upstream.connections == 1


def test_https_never_goes_down_to_http(serve, make_client, monkeypatch) -> None:
    storage = serve(mp4)
    upstream = serve(reply(302, b"", Location=f"http://127.0.0.1:{storage.port}/x"), tls=True)
    with authority().cert_pem.tempfile() as trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
        with pytest.raises(Unavailable, match="https to http"):
            fetch(make_client(upstream.url, retries=0, content_hosts=[at(storage)]))
    assert storage.connections == 0


BASE = "https://api.test/v1"


def leads(location: str, *hosts: str, base: str = BASE) -> Callable[[], str]:
    return lambda: Route(base, ContentHosts(hosts)).next(f"{base}/videos/1/content", location)[0]


@pytest.mark.parametrize(
    ("location", "hosts"),
    [
        ("https://files.test/x", ["files.test"]),
        ("https://files.test:443/x", ["files.test"]),
        ("https://FILES.test./x", ["files.test"]),
        ("https://files.test:8443/x", ["files.test:8443"]),
        ("https://a.b.files.test/x?sig=%2F%3D", ["other.test", "*.files.test"]),
        ("https://anything.test/x", ["*"]),
        ("//files.test/x", ["files.test"]),
        ("/elsewhere", []),
        ("https://api.test/elsewhere", []),
    ],
)
def test_where_it_may_lead(location: str, hosts: list[str]) -> None:
    assert leads(location, *hosts)()


@pytest.mark.parametrize(
    ("location", "hosts"),
    [
        ("https://files.test:8443/x", ["files.test", "*"]),
        ("https://evilfiles.test/x", ["files.test", "*.files.test"]),
        ("https://files.test.evil.test/x", ["files.test", "*.files.test"]),
        ("https://files.test/x", ["*.files.test"]),
        ("https://files.test@evil.test/x", ["files.test"]),
        ("https://user:pass@files.test/x", ["files.test"]),
        ("https://evil.test\\@files.test/x", ["files.test"]),
        ("https://evil.test#@files.test/x", ["files.test"]),
        ("https://api.test:8443/x", []),
        ("http://api.test/x", []),
        ("http://api.test:443/x", ["*"]),
        ("ftp://files.test/x", ["*"]),
        ("file:///etc/passwd", ["*"]),
        ("https://[::1", ["*"]),
        ("https://files.test:99999/x", ["*"]),
        ("https://\udcff/x", ["*"]),
    ],
)
def test_where_it_may_not_lead(location: str, hosts: list[str]) -> None:
    with pytest.raises(NotAllowed):
        leads(location, *hosts)()


def test_only_the_default_ports_are_an_upgrade() -> None:
    assert leads("https://api.test/x", base="http://api.test/v1")()
    with pytest.raises(NotAllowed):
        leads("https://api.test/x", base="http://api.test:9000/v1")()


@pytest.mark.parametrize(
    "pattern",
    ["", "https://files.test", "files.test/x", "*.", "a*.test", "files.test:0", "files.test:99999", "a b"],
)
def test_what_is_no_host_is_refused_at_the_start(pattern: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        ContentHosts([pattern])


def test_an_origin_has_a_port() -> None:
    assert Origin.of("https://files.test/x") == Origin("https", "files.test", 443)


@pytest.mark.parametrize("location", ["http://\xff\xfe/", "\xff", "http://[", "x" * 9000])
def test_no_location_raises_anything_else(serve, make_client, location) -> None:
    upstream = serve(reply(302, b"", Location=location))
    with pytest.raises(Unavailable):
        fetch(make_client(upstream.url, retries=0))
