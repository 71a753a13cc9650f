"""Reads and deletes: repeated with patience, and what they raise in the end."""

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
import responses

from tests.sora.upstream import VIDEO, drip, refused_port, reply, silence, then_close, then_reset
from tests.timeouts import TIMEOUT
from upstreams.client.client import SoraClient
from upstreams.client.dialects import DIALECTS
from upstreams.client.errors import Busy, Misconfigured, NotFound, Rejected, Unavailable
from upstreams.client.types import Phase

ROOT = "https://sora.test/v1/videos"
ONE = f"{ROOT}/video_1"
EMPTY = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}

CALLS = {
    "retrieve": (responses.GET, ONE, lambda client: client.retrieve("video_1"), VIDEO),
    "list": (responses.GET, ROOT, lambda client: client.list(), EMPTY),
    "probe": (responses.GET, ROOT, lambda client: client.probe(), EMPTY),
    "delete": (responses.DELETE, ONE, lambda client: client.delete("video_1"), {"deleted": True}),
}


@pytest.fixture(params=CALLS)
def each(request):
    return CALLS[request.param]


@pytest.fixture
def mock():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def test_no_cache_may_answer_for_the_upstream(mock, make_client, each):
    method, url, call, answer = each
    mock.add(method, url, json=answer)
    call(make_client())
    assert mock.calls[0].request.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "failure",
    [
        {"status": 500},
        {"status": 503, "body": "<html>"},
        {"status": 408},
        {"status": 429},
        {"status": 302},
        {"body": requests.ConnectionError()},
        {"body": requests.ReadTimeout()},
        {"body": requests.exceptions.ChunkedEncodingError()},
    ],
    ids=str,
)
def test_what_passes_is_asked_again(mock, make_client, naps, each, failure):
    method, url, call, answer = each
    mock.add(method, url, **failure)
    mock.add(method, url, **failure)
    mock.add(method, url, json=answer)
    call(make_client())
    assert len(mock.calls) == 3
    assert len(naps.taken) == 2


@pytest.mark.parametrize("retries", [0, 1, 4])
@pytest.mark.parametrize(("status", "expected"), [(500, Unavailable), (408, Unavailable), (429, Busy)])
def test_patience_ends(mock, make_client, naps, each, status, expected, retries):
    method, url, call, _ = each
    mock.add(method, url, status=status)
    with pytest.raises(expected):
        call(make_client(retries=retries, deadline=10_000))
    assert len(mock.calls) == retries + 1
    assert len(naps.taken) == retries


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Rejected),
        (301, Misconfigured),
        (307, Misconfigured),
        (308, Misconfigured),
        (401, Misconfigured),
        (402, Misconfigured),
        (403, Misconfigured),
        (404, NotFound),
        (409, Rejected),
        (422, Rejected),
    ],
)
@pytest.mark.parametrize("body", ["<html>", '{"error": {"message": "no", "code": "c"}}'])
def test_refusals_are_not_asked_again(mock, make_client, each, status, expected, body):
    method, url, call, _ = each
    mock.add(method, url, status=status, body=body)
    with pytest.raises(expected) as caught:
        call(make_client())
    assert type(caught.value) is expected
    assert caught.value.status == status
    assert len(mock.calls) == 1


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", '{"id": {}}', '{"error": {"message": "no"}}', '{"data": 1}']
)
@pytest.mark.parametrize("name", ["retrieve", "list", "probe"])
def test_unreadable_answers(mock, make_client, name, body):
    method, url, call, _ = CALLS[name]
    mock.add(method, url, body=body)
    with pytest.raises(Unavailable):
        call(make_client())


def test_an_answer_without_an_id_is_about_the_video_that_was_asked_for(mock, make_client):
    mock.get(ONE, json={"status": "SUCCESS", "progress": "100%"})
    video = make_client().retrieve("video_1")
    assert (video.id, video.phase, video.progress) == ("video_1", Phase.COMPLETED, 100)


def test_jitter_is_full_and_grows(mock, make_client, naps):
    mock.get(ONE, status=500)
    for _ in range(30):
        with pytest.raises(Unavailable):
            make_client(retries=3, retry_delay=1.0, deadline=10_000).retrieve("video_1")
    windows = (naps.taken[0::3], naps.taken[1::3], naps.taken[2::3])
    for naps_of_window, longest in zip(windows, (1, 2, 4), strict=True):
        assert max(naps_of_window) <= longest
        # Not a fixed wait with a little noise: the whole window is used.
        assert min(naps_of_window) < longest / 3
        assert max(naps_of_window) > longest / 2


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "nap"),
    [({"Retry-After": "7"}, 7.0), ({"retry-after-ms": "2500"}, 2.5), ({"Retry-After": "0"}, 0)],
)
def test_retry_after_is_honoured(mock, make_client, naps, each, status, headers, nap):
    method, url, call, answer = each
    mock.add(method, url, status=status, headers=headers)
    mock.add(method, url, json=answer)
    call(make_client())
    assert naps.taken == [nap]


def test_retry_after_as_a_date(mock, make_client, naps):
    later = datetime.now(UTC) + timedelta(seconds=20)
    mock.get(ONE, status=503, headers={"Retry-After": format_datetime(later, usegmt=True)})
    mock.get(ONE, json=VIDEO)
    make_client().retrieve("video_1")
    assert 15 < naps.taken[0] <= 20


@pytest.mark.parametrize(("status", "expected"), [(429, Busy), (503, Unavailable)])
def test_a_long_retry_after_is_handed_on(mock, make_client, naps, each, status, expected):
    method, url, call, _ = each
    mock.add(method, url, status=status, headers={"Retry-After": "31"})
    with pytest.raises(expected) as caught:
        call(make_client(deadline=10_000))
    assert caught.value.retry_after == 31
    assert naps.taken == []
    assert len(mock.calls) == 1


def test_no_nap_outlasts_the_deadline(mock, make_client, naps):
    mock.get(ONE, status=503, headers={"Retry-After": "4"})
    with pytest.raises(Unavailable):
        make_client(retries=99, deadline=10).retrieve("video_1")
    assert naps.taken == [4, 4]


def test_retrieve(mock, make_client):
    mock.get(ONE, json=VIDEO | {"progress": 40})
    video = make_client().retrieve("video_1")
    assert (video.id, video.progress) == ("video_1", 40)


def test_list_asks_for_a_page(mock, make_client):
    mock.get(ROOT, json={"data": [VIDEO], "last_id": "video_1", "has_more": True})
    page = make_client().list(after="video_9", limit=5, order="asc")
    assert [video.id for video in page.videos] == ["video_1"]
    assert page.next_after == "video_1"
    assert mock.calls[0].request.params == {"after": "video_9", "limit": "5", "order": "asc"}


def test_list_starts_with_the_newest_hundred(mock, make_client):
    mock.get(ROOT, json=EMPTY)
    make_client().list()
    assert mock.calls[0].request.params == {"limit": "100", "order": "desc"}


def test_a_list_that_does_not_move_on_has_not_ended(mock, make_client):
    mock.get(ROOT, json={"data": [VIDEO], "last_id": "video_1", "has_more": True})
    with pytest.raises(Unavailable):
        make_client().list(after="video_1")


@pytest.mark.parametrize(("name", "path"), [("litellm", "models"), ("openrouter", "key")])
def test_an_upstream_without_a_list_is_probed_where_it_asks_for_a_key(mock, make_client, name, path):
    address = f"{ROOT.removesuffix('/videos')}/{path}"
    mock.get(address, json={"data": []})
    make_client(dialect=DIALECTS[name]).probe()
    assert mock.calls[0].request.headers["Authorization"].startswith("Bearer ")
    mock.get(address, status=401)
    with pytest.raises(Misconfigured):
        make_client(dialect=DIALECTS[name]).probe()


def test_probe_asks_for_one(mock, make_client):
    mock.get(ROOT, json=EMPTY)
    make_client().probe()
    assert mock.calls[0].request.params["limit"] == "1"


@pytest.mark.parametrize(
    ("video_id", "path"),
    [
        ("video_abc:openai", "/v1/videos/video_abc%3Aopenai"),
        ("video_YWI=", "/v1/videos/video_YWI%3D"),
        ("a?b#c%2F", "/v1/videos/a%3Fb%23c%252F"),
        ("vidéo", "/v1/videos/vid%C3%A9o"),
    ],
)
def test_ids_are_quoted(serve, make_client, video_id, path):
    upstream = serve(reply())
    make_client(upstream.url).retrieve(video_id)
    assert upstream.requests[0].split()[1].decode() == path


@pytest.mark.parametrize("video_id", ["", "..", ".", "a/b", "a b", "a\nb"])
@pytest.mark.parametrize("method", ["retrieve", "delete"])
def test_ids_that_would_change_the_path_are_refused(make_client, method, video_id):
    with pytest.raises(ValueError, match="id"):
        getattr(make_client(), method)(video_id)


@pytest.mark.parametrize("handler", [then_close(), then_reset], ids=["closed", "reset"])
def test_broken_connections_are_tried_again(serve, make_client, handler):
    upstream = serve(handler)
    with pytest.raises(Unavailable):
        make_client(upstream.url, retries=2).retrieve("video_1")
    assert len(upstream.requests) == 3


def test_refused_connections_are_tried_again(make_client, naps):
    with pytest.raises(Unavailable):
        make_client(f"http://127.0.0.1:{refused_port()}/v1").retrieve("video_1")
    assert len(naps.taken) == 2


def test_redirects_are_not_followed(serve, make_client):
    target = serve(reply())
    upstream = serve(reply(302, b"", Location=f"{target.url}/videos/video_1"))
    with pytest.raises(Unavailable):
        make_client(upstream.url, retries=0).retrieve("video_1")
    assert target.connections == 0


def test_bodies_are_capped(serve, make_client, monkeypatch):
    monkeypatch.setattr("upstreams.client.client.MAX_PAGE_BODY_BYTES", 1000)
    upstream = serve(reply(200, {"data": [VIDEO | {"prompt": "x" * 1000}]}))
    with pytest.raises(Unavailable):
        make_client(upstream.url, retries=0).list()
    upstream = serve(drip(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536, every=0))
    with pytest.raises(Unavailable):
        make_client(upstream.url, retries=0, deadline=30).retrieve("video_1")


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "handler",
    [
        silence,
        drip(HEAD + b"X-Slow: ", b"."),
        drip(HEAD + b"\r\n", b" "),
        drip(HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    ],
    ids=["silence", "headers", "body", "body with length"],
)
def test_deadline_is_wall_clock(serve, make_client, handler):
    upstream = serve(handler)
    client = make_client(upstream.url, deadline=0.3, retries=5, clock=time.monotonic)
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        client.retrieve("video_1")
    assert 0.25 < time.monotonic() - begun < 1.5
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("call", [lambda client, **at: client.retrieve("video_1", **at), SoraClient.probe])
def test_a_call_may_bring_its_own_deadline(serve, make_client, call):
    upstream = serve(silence)
    client = make_client(upstream.url, deadline=60, retries=5, clock=time.monotonic)
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        call(client, deadline=0.2)
    assert time.monotonic() - begun < 1.5


def test_deadline_holds_on_a_kept_alive_connection(serve, make_client):
    slow = drip(HEAD + b"Content-Length: 100000\r\n\r\n", b" ")
    upstream = serve(
        lambda server, connection: (reply() if len(server.requests) == 1 else slow)(server, connection)
    )
    client = make_client(upstream.url, deadline=0.3, retries=0)
    client.retrieve("video_1")
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        client.retrieve("video_1")
    assert time.monotonic() - begun < 1.5
    assert upstream.connections == 1


def test_one_thread_past_its_deadline_leaves_the_other_alone(serve, make_client):
    release = threading.Event()

    def handler(upstream, connection):
        if b"slow" in upstream.requests[-1]:
            drip(HEAD + b"X-Slow: ", b".")(upstream, connection)
        else:
            release.wait(TIMEOUT)
            reply()(upstream, connection)

    upstream = serve(handler)
    client = make_client(upstream.url, retries=0, timeout=5, deadline=5)
    results = {}

    def patient():
        results["patient"] = client.retrieve("video_1")

    thread = threading.Thread(target=patient)
    thread.start()
    while not upstream.requests:
        time.sleep(0.005)
    with pytest.raises(Unavailable), client.download("slow", deadline=0.2):
        pass
    release.set()
    thread.join(TIMEOUT)
    assert results["patient"].id == "video_1"


def test_watches_leave_no_thread_behind(serve, make_client):
    upstream = serve(reply())
    client = make_client(upstream.url, deadline=600)
    client.retrieve("video_1")
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_many_threads_share_a_client(serve, make_client):
    upstream = serve(reply())
    client = make_client(upstream.url)
    seen = []
    threads = [
        threading.Thread(target=lambda: seen.extend(client.retrieve("video_1").id for _ in range(10)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert seen == ["video_1"] * 80


@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
def test_a_failed_video_in_the_body_of_an_error_is_the_answer(mock, make_client, status):
    # So does vLLM-Omni 0.30.0.
    mock.get(
        ONE, status=status, json=VIDEO | {"status": "failed", "error": {"code": status, "message": "no"}}
    )
    video = make_client().retrieve("video_1")
    assert (video.phase, video.error.message) == (Phase.FAILED, "no")
    assert len(mock.calls) == 1


def test_an_error_with_a_video_that_still_runs_is_an_error(mock, make_client):
    mock.get(ONE, status=400, json=VIDEO)
    with pytest.raises(Rejected):
        make_client().retrieve("video_1")


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_of_the_first_look_names_the_address(serve, make_client, status):
    answer = b"HTTP/1.1 %d Moved\r\nLocation: https://host.example/v1/videos?key=x\r\n" % status
    upstream = serve(then_close(answer + b"Content-Length: 0\r\n\r\n"))
    with pytest.raises(Misconfigured, match=r"redirects to https://host\.example;"):
        make_client(upstream.url).probe()
    assert len(upstream.requests) == 1
