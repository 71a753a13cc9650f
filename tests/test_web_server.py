"""Slow clients cost a socket, not a thread; and what Django never sees is refused in the usual envelope."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from waitress import wasyncore
from waitress.task import ThreadedTaskDispatcher

from api.logs.events import LogEvent
from config.web import connections, listening
from config.web.listening import listen, run_once
from tests.log_lines import Lines
from tests.timeouts import TIMEOUT

_THREADS = 4
_BIG = 20_000_000


class Web:
    """A server with a few threads in this process."""

    def __init__(self, application: Any, most: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.listener.getsockname()[:2]
        self.sockets: dict[int, Any] = {}
        self._threads, self._alive, self._batch = (ThreadedTaskDispatcher() for _ in range(3))
        self._threads.set_thread_count(_THREADS)
        self._alive.set_thread_count(1)
        self._batch.set_thread_count(1)
        self.server: Any = listen(
            application,
            self.listener,
            sockets=self.sockets,
            threads=self._threads,
            alive_thread=self._alive,
            batch_threads=self._batch,
            most=most,
        )
        self._ends = False
        self._loop = threading.Thread(target=self._run)
        self._loop.start()

    def _run(self) -> None:
        while not self._ends:
            run_once([self.server], self.sockets, within=0.05)

    def close(self) -> None:
        self._ends = True
        self._loop.join()
        for threads in (self._threads, self._alive, self._batch):
            threads.shutdown(timeout=5)
        for channel in list(self.server.active_channels.values()):
            channel.handle_close()
        wasyncore.close_all(self.sockets)

    def connect(self, sent: bytes = b"", *, receive_buffer: int = 0) -> socket.socket:
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(TIMEOUT)
        client.connect(self.address)
        client.sendall(sent)
        return client

    def ask(self, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        """The answer to what is sent over a connection of its own; all of it, up to its close."""
        with self.connect(sent) as client:
            return answer_of(client)

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


def answer_of(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    raw = b""
    with suppress(ConnectionResetError):
        while data := client.recv(65_536):
            raw += data
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def refusal(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    status, headers, body = answer
    told = json.loads(body)
    assert headers["Content-Type"] == "application/json"
    assert told["success"] is False
    assert told["error"]["requestId"] == headers["X-Request-Id"]
    return status, told["error"]["code"]


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(_BIG)
    return path


@pytest.fixture
def hold() -> Iterator[threading.Event]:
    """Requests for /hold are answered once it is set."""
    held = threading.Event()
    yield held
    held.set()


@pytest.fixture
def start(big: Path, hold: threading.Event) -> Iterator[Callable[..., Web]]:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/file":
            start_response("200 OK", [("Content-Length", str(_BIG))])
            return environ["wsgi.file_wrapper"](big.open("rb"), 65_536)
        if path == "/stream":
            start_response("200 OK", [])
            return (b"x" * 65_536 for _ in range(300))
        if path == "/hold" or "hold" in environ["QUERY_STRING"]:
            hold.wait(TIMEOUT)
        body = environ["wsgi.input"].read()
        said = json.dumps({"path": path, "bytes": len(body), "thread": threading.current_thread().name})
        start_response("200 OK", [("Content-Length", str(len(said)))])
        return [said.encode()]

    with ExitStack() as stack:

        def begin(most: int = 500) -> Web:
            return stack.enter_context(closing(Web(application, most)))

        yield begin


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    """Connections that are closed in the end."""
    held: list[socket.socket] = []
    yield held
    for client in held:
        client.close()


SLOW = {
    "nothing": b"",
    "a header that does not end": b"GET / HTTP/1.1\r\nHost: x\r\nX-A",
    "a body that does not end": b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n123",
    "a refused body that does not end": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n123",
    "a file that is not read": b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n",
    "a stream that is not read": b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
def test_many_slow_clients_hold_up_nobody(
    start: Callable[..., Web], clients: list[socket.socket], sent: bytes
) -> None:
    web = start()
    # What a stream has that is not read is kept on disk.
    count = 4 * _THREADS if b"stream" in sent else 100
    clients += [web.connect(sent, receive_buffer=4_096) for _ in range(count)]
    began = time.monotonic()
    assert web.get("/api")[0] == 200
    assert web.get("/health")[0] == 200
    assert time.monotonic() - began < 3


def test_the_process_says_that_it_is_alive_while_all_threads_are_busy(
    start: Callable[..., Web], hold: threading.Event, clients: list[socket.socket]
) -> None:
    web = start()
    clients += [web.connect(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(3 * _THREADS)]
    began = time.monotonic()
    assert web.get("/health")[0] == 200
    assert time.monotonic() - began < 1
    # Others have to wait for a thread, and get one.
    waiting = web.connect(b"GET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    clients.append(waiting)
    waiting.settimeout(0.3)
    with pytest.raises(TimeoutError):
        waiting.recv(1)
    hold.set()
    waiting.settimeout(TIMEOUT)
    assert answer_of(waiting)[0] == 200


@pytest.mark.parametrize(
    "call",
    [
        "POST /api/v1/batches",
        "POST /api/v1/batches/estimate",
        "POST /api/v1/videos/batch",
        "POST /api/v1/batches/b1/retry",
        "DELETE /api/v1/batches/b1",
        "GET /api/v1/batches/b1/manifest",
    ],
)
def test_calls_about_whole_batches_take_no_thread_of_others(
    start: Callable[..., Web], hold: threading.Event, clients: list[socket.socket], call: str
) -> None:
    web = start()
    clients += [web.connect(f"{call}?hold HTTP/1.1\r\nHost: x\r\n\r\n".encode()) for _ in range(3 * _THREADS)]
    began = time.monotonic()
    for path in ("/api/v1/videos", "/api/v1/batches", "/api/v1/batches/b1", "/api/v1/videos/batch/b1"):
        assert web.get(path)[0] == 200
    assert time.monotonic() - began < 1
    hold.set()


@pytest.mark.parametrize(
    "sent", [SLOW["a header that does not end"], SLOW["a body that does not end"]], ids=["header", "body"]
)
def test_a_request_has_to_come_to_its_end_however_it_drips(
    start: Callable[..., Web], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.5)
    web = start()
    with web.connect(sent) as client:
        client.settimeout(0.1)
        ends = time.monotonic() + TIMEOUT
        first = b""
        while not first:
            assert time.monotonic() < ends
            client.sendall(b"1")
            with suppress(TimeoutError):
                first = client.recv(1)
        client.settimeout(TIMEOUT)
        status, _, body = answer_of(client)
    assert status == 408
    assert json.loads(body)["error"]["code"] == "request_timeout"


def test_an_upload_has_as_much_longer_as_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half:
        headers_finished, content_length, completed, error = True, 0, False, None

    class Server:
        def add_task(self, connection: Any) -> None:
            connection.ended = True

    def is_late(length: int, after: float) -> bool:
        connection = connections.Connection.__new__(connections.Connection)
        connection.server, connection.requests, connection.requests_lock = Server(), [], threading.Lock()
        connection.request, connection.ended = Half(), False
        connection.request.content_length = length
        connection.request_began = connection.last_activity = 1_000.0
        connection.end_if_late(1_000.0 + after)
        return bool(connection.ended)

    assert not is_late(1_000, 39)
    assert is_late(1_000, 41)
    assert not is_late(64 * 2**20, 2_000)
    assert is_late(64 * 2**20, 2_100)


def test_what_is_idle_or_not_read_is_closed(
    start: Callable[..., Web], clients: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.3)
    web = start()
    kept = b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n"
    clients += [
        web.connect(sent, receive_buffer=4_096) for sent in (b"", kept, SLOW["a file that is not read"])
    ]
    ends = time.monotonic() + TIMEOUT
    while time.monotonic() < ends and (web.server.active_channels or len(clients) < 3):
        time.sleep(0.02)
    assert not web.server.active_channels


def test_too_many_make_room_for_others(start: Callable[..., Web], clients: list[socket.socket]) -> None:
    web = start(most=20)
    for _ in range(60):
        clients.append(web.connect(SLOW["a body that does not end"]))
        if len(clients) % 10 == 0:
            assert web.get("/api")[0] == 200
    ends = time.monotonic() + TIMEOUT
    while time.monotonic() < ends and len(web.server.active_channels) > 20:
        time.sleep(0.02)
    assert len(web.server.active_channels) <= 20


def test_who_is_being_served_is_not_closed_for_others(
    start: Callable[..., Web], hold: threading.Event, clients: list[socket.socket]
) -> None:
    web = start(most=10)
    asked = web.connect(b"GET /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    clients.append(asked)
    clients += [web.connect(SLOW["a body that does not end"]) for _ in range(40)]
    assert web.get("/health")[0] == 200
    hold.set()
    assert answer_of(asked)[0] == 200


def test_what_is_refused_is_one_line_of_the_log(start: Callable[..., Web], lines: Lines) -> None:
    large = b"POST /api/v1/videos HTTP/1.1\r\nContent-Length: 9000000000\r\n\r\n"
    web = start()
    _, headers, _ = web.ask(large)
    web.ask(b"nonsense\r\n\r\n")
    first, second = lines(LogEvent.REQUEST)
    assert (first["method"], first["path"]) == ("POST", "/api/v1/videos")
    assert (first["status"], first["error_code"]) == (413, "payload_too_large")
    assert first["request_id"] == headers["X-Request-Id"]
    assert (second["status"], second["error_code"]) == (400, "bad_request")


def test_what_cannot_be_read_is_refused_in_the_envelope(start: Callable[..., Web]) -> None:
    web = start()
    assert refusal(web.ask(b"nonsense\r\n\r\n")) == (400, "bad_request")
    assert refusal(web.ask(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")) == (400, "bad_request")
    assert refusal(web.ask(b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n")) == (400, "bad_request")
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\na\r\n0\r\n\r\n"
    assert refusal(web.ask(chunked)) == (400, "bad_request")
    coded = b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"
    assert refusal(web.ask(coded)) == (501, "not_implemented")
    assert refusal(web.get("/" + "a" * 70_000)) == (431, "headers_too_large")
    # A long one that fits is the application's to answer.
    assert web.get("/" + "a" * 10_000)[0] == 200


@pytest.mark.parametrize(
    ("path", "most"), [("/api/v1/videos", 1_048_576), ("/api/auth/login", 16_384), ("/hooks/sora", 65_536)]
)
def test_a_body_that_is_too_long_is_not_kept(start: Callable[..., Web], path: str, most: int) -> None:
    web = start()

    def post(length: int) -> tuple[int, dict[str, str], bytes]:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        return web.ask(head.encode() + b"x" * length)

    assert json.loads(post(most)[2])["bytes"] == most
    # All of it is read first: most clients see no answer before they are done.
    assert refusal(post(most + 1)) == (413, "payload_too_large")
    assert refusal(post(20_000_000)) == (413, "payload_too_large")
    # Unless its client waits to be told, or it is absurd.
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {most + 1}\r\n\r\n"
    assert refusal(web.ask(head.encode())) == (413, "payload_too_large")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\n\r\n"
    assert refusal(web.ask(head.encode())) == (413, "payload_too_large")


def received(web: Web) -> int:
    unfinished = [each.request for each in list(web.server.active_channels.values())]
    return sum(each.body_bytes_received for each in unfinished if each is not None)


def test_unfinished_uploads_do_not_fill_the_disk(
    start: Callable[..., Web], clients: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "BODY_BYTES", 8_000_000)
    web = start()
    head = b"POST /api/v1/batches HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Length: 60000000\r\n\r\n"
    clients += [web.connect(head + b"x" * 2_500_000) for _ in range(3)]
    ends = time.monotonic() + TIMEOUT
    while time.monotonic() < ends and received(web) < 7_500_000:
        time.sleep(0.02)
    answer = web.ask(head + b"x" * 2_000_000)
    assert refusal(answer) == (503, "too_many_uploads")
    assert int(answer[1]["Retry-After"]) > 0
    # What is short is taken all the same.
    assert web.ask(b"POST /api HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")[0] == 200


def test_a_client_that_waits_to_be_told_is_told(start: Callable[..., Web]) -> None:
    head = b"POST /api HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    with start().connect(head) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(b"boat")
        assert json.loads(answer_of(client)[2])["bytes"] == 4


def test_several_requests_over_one_connection_are_answered_in_turn(start: Callable[..., Web]) -> None:
    one = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    with start().connect(
        one % 1 + one % 2 + b"GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ) as client:
        raw = b""
        while data := client.recv(65_536):
            raw += data
    positions = [raw.index(f'"path": "/{number}"'.encode()) for number in (1, 2, 3)]
    assert positions == sorted(positions)


def test_a_client_that_reads_nothing_is_given_one_answer_at_a_time(big: Path) -> None:
    opened: list[Any] = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        opened.append(big.open("rb"))
        start_response("200 OK", [("Content-Length", str(_BIG))])
        return environ["wsgi.file_wrapper"](opened[-1], 65_536)

    def still_open() -> int:
        return sum(not each.closed for each in opened)

    with closing(Web(application, 10)) as web:
        with web.connect(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n" * 20, receive_buffer=4_096) as client:
            ends = time.monotonic() + TIMEOUT
            while not opened and time.monotonic() < ends:
                time.sleep(0.02)
            # Each of the others would be served by a thread that has nothing else to do.
            assert web.get("/other")[0] == 200
            assert still_open() == 1
            # Each comes in its turn as soon as the last one is read.
            left = 20 * _BIG
            while left > 0:
                left -= len(client.recv(1 << 20))
                assert still_open() <= 1
        assert len(opened) == 21


def test_one_who_sends_much_and_reads_nothing_makes_room_for_others(
    start: Callable[..., Web], clients: list[socket.socket]
) -> None:
    web = start(most=5)
    clients += [web.connect(SLOW["a file that is not read"] * 3, receive_buffer=4_096) for _ in range(5)]
    ends = time.monotonic() + TIMEOUT
    while sum(each.awaits_reader for each in list(web.server.active_channels.values())) < 5:
        assert time.monotonic() < ends
        time.sleep(0.02)
    assert web.get("/api")[0] == 200


def test_answers_that_are_not_read_do_not_fill_the_disk(
    start: Callable[..., Web], clients: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "UNREAD_BYTES", 50_000_000)
    web = start()
    clients += [web.connect(SLOW["a file that is not read"], receive_buffer=4_096)]
    clients += [web.connect(SLOW["a stream that is not read"], receive_buffer=4_096) for _ in range(6)]
    ends = time.monotonic() + TIMEOUT

    def unread() -> list[int]:
        return [each.unread_bytes for each in list(web.server.active_channels.values())]

    # The file is there anyway, so it takes no room.
    while time.monotonic() < ends and not (len(unread()) == 3 and min(unread()[1:]) > 15_000_000):
        time.sleep(0.02)
    assert len(unread()) == 3
    assert sum(unread()) <= 50_000_000
    assert web.get("/api")[0] == 200


def in_chunks(path: str, *parts: bytes, more: bytes = b"") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + (more or b"0\r\n\r\n")


def test_a_body_in_chunks_is_taken_as_one_with_its_length(start: Callable[..., Web]) -> None:
    web = start()
    status, _, body = web.ask(in_chunks("/api/v1/videos", b"a paper", b" boat", b"x" * 100_000))
    assert (status, json.loads(body)["bytes"]) == (200, 100_012)
    status, _, body = web.ask(in_chunks("/api/v1/videos"))
    assert (status, json.loads(body)["bytes"]) == (200, 0)


@pytest.mark.parametrize(("path", "most"), [("/api/v1/videos", 1_048_576), ("/api/auth/login", 16_384)])
def test_a_body_in_chunks_is_counted_as_it_arrives(start: Callable[..., Web], path: str, most: int) -> None:
    web = start()
    whole = [b"x" * 8_192] * (most // 8_192)
    assert json.loads(web.ask(in_chunks(path, *whole))[2])["bytes"] == most
    assert refusal(web.ask(in_chunks(path, *whole, b"y"))) == (413, "payload_too_large")
    # It need not end.
    endless = in_chunks(path, *whole, *whole, *[b"z" * 1_048_576] * 33, more=b"10\r\n")
    assert refusal(web.ask(endless)) == (413, "payload_too_large")
    # Nor be long: this has many more bytes than it is.
    tiny = in_chunks("/api/auth/login", more=b"000001\r\na\r\n" * 16_385 + b"0\r\n\r\n")
    assert refusal(web.ask(tiny)) == (413, "payload_too_large")


def test_what_is_refused_of_a_body_in_chunks_is_not_kept(start: Callable[..., Web]) -> None:
    web = start()
    with web.connect(in_chunks("/api/auth/login", b"x" * 20_000, b"y" * 2_000_000, more=b"5\r\n")):
        ends = time.monotonic() + TIMEOUT
        while time.monotonic() < ends and received(web) < 2_000_000:
            time.sleep(0.02)
        (channel,) = web.server.active_channels.values()
        assert len(channel.request.body_rcv) == 0


@pytest.mark.parametrize("begun", [b"1", b"1;name=", b"0\r\nName: "])
def test_a_line_of_the_chunks_has_an_end(start: Callable[..., Web], begun: bytes) -> None:
    web = start()
    assert refusal(web.ask(in_chunks("/api/v1/videos", more=begun + b"1" * 70_000))) == (400, "bad_request")


def test_a_body_has_one_length(start: Callable[..., Web]) -> None:
    both = in_chunks("/", b"abc").replace(b"Host: x", b"Host: x\r\nContent-Length: 3")
    assert refusal(start().ask(both)) == (400, "bad_request")


def test_what_follows_a_body_in_chunks_is_another_request(start: Callable[..., Web]) -> None:
    first = in_chunks("/1", b"abc").replace(b"Connection: close\r\n", b"")
    with start().connect(first + b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as client:
        raw = b""
        while data := client.recv(65_536):
            raw += data
    assert b'"path": "/1", "bytes": 3' in raw
    assert b'"path": "/2", "bytes": 0' in raw
