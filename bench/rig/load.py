"""Sends requests over several connections as fast as they are answered, and keeps how long each took.

It is as lean as asyncio allows, because it runs on the same processors as the server that it measures.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# An answer that takes longer ends the run.
_PATIENCE_SECONDS: Final = 30.0


class WrongAnswer(Exception):
    """An answer with another status than expected, or none; what is measured is not what was meant."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one round has shown: answers a second, and milliseconds from request to answer."""

    rate: float
    p50: float
    p99: float
    answered: int


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """One HTTP/1.1 request to 127.0.0.1, for a connection that stays open."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def load(
    port: int, next_request: Callable[[int], bytes], *, connections: int, seconds: float, status: int
) -> Load:
    """Runs one round. `next_request` gets the number of the connection. Raises WrongAnswer."""
    return asyncio.run(_load(port, next_request, connections, seconds, status))


async def _load(
    port: int, next_request: Callable[[int], bytes], connections: int, seconds: float, status: int
) -> Load:
    loop = asyncio.get_running_loop()
    callers: list[_Caller] = []
    try:
        for number in range(connections):
            caller = _Caller(next_request, number, status)
            callers.append(caller)
            await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", port)  # type: ignore[misc]
        began = time.perf_counter()
        for caller in callers:
            caller.begin(began + seconds)
        whole = asyncio.gather(*(caller.done for caller in callers))
        await asyncio.wait_for(whole, seconds + _PATIENCE_SECONDS)
        took = time.perf_counter() - began
    finally:
        for caller in callers:
            caller.abort()
        # So that the loop closes their sockets before it ends.
        await asyncio.sleep(0)
    waits = sorted(wait for caller in callers for wait in caller.waits)
    return Load(
        rate=len(waits) / took,
        p50=1000 * waits[len(waits) // 2],
        p99=1000 * waits[min(len(waits) - 1, int(0.99 * len(waits)))],
        answered=len(waits),
    )


class _Caller(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self, next_request: Callable[[int], bytes], number: int, status: int) -> None:
        self._next_request = next_request
        self._number = number
        self._expected = f" {status} ".encode()
        self._received = bytearray()
        self._length: int | None = None
        self._ends = self._sent = 0.0
        self.waits: list[float] = []
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def begin(self, ends: float) -> None:
        """Sends until this moment of time.perf_counter()."""
        self._ends = ends
        self._send()

    def abort(self) -> None:
        """Drops the connection, whatever goes on."""
        if self._transport is not None:
            self._transport.abort()
        self.done.cancel()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        assert self._transport is not None
        self._transport.write(self._next_request(self._number))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._length is None:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            found = _LENGTH.search(self._received, 0, head + 2)
            if found is None or self._expected not in self._received[: self._received.find(b"\r\n")]:
                self._fail(bytes(self._received[:600]).decode(errors="replace"))
                return
            self._length = head + 4 + int(found[1])
        if len(self._received) < self._length:
            return
        now = time.perf_counter()
        self.waits.append(now - self._sent)
        self._received.clear()
        self._length = None
        if now < self._ends:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("The server closed the connection.")

    def _fail(self, what: str) -> None:
        if not self.done.done():
            self.done.set_exception(WrongAnswer(what))
