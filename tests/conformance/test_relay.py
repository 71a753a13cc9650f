"""The relay passes everything on, and loses an answer only when it is told to."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from tests.conformance.relay import Relay
from tests.services import free_port


class _Accepts(BaseHTTPRequestHandler):
    bodies: list[bytes] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def relayed() -> Iterator[tuple[Relay, str]]:
    _Accepts.bodies.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Accepts) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = free_port()
        relay = Relay(port, server.server_port)
        yield relay, f"http://127.0.0.1:{port}"
        relay.close()
        server.shutdown()


def test_a_lost_answer_is_one_that_the_server_gave(relayed: tuple[Relay, str]) -> None:
    relay, address = relayed
    relay.lose_next_answer()

    with pytest.raises(requests.ConnectionError):
        requests.post(address, data=b"lost", timeout=10, headers={"Connection": "close"})
    kept = requests.post(address, data=b"kept", timeout=10, headers={"Connection": "close"})

    assert kept.text == "ok"
    assert _Accepts.bodies == [b"lost", b"kept"]
    assert relay.posts == 2
