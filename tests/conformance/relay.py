"""Passes bytes between Take One and a server, and can lose the answer to a create that was accepted."""

import asyncio
import threading
from contextlib import suppress

_CHUNK = 65536


class Relay:
    """Listens on a port of 127.0.0.1, in a thread. A create has a connection of its own."""

    def __init__(self, port: int, target: int) -> None:
        self.posts = 0
        self._target = target
        self._loses = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._pass, "127.0.0.1", port), self._loop
        )
        self._server = listening.result(10)

    def lose_next_answer(self) -> None:
        """Cut the connection of the next create when the server begins to answer it."""
        self._loses += 1

    def close(self) -> None:
        """Stop listening, and cut what is open."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        open_now = asyncio.all_tasks() - {asyncio.current_task()}
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)
        # Its sockets close in the next turns of the loop.
        await asyncio.sleep(0.05)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            first = await reader.read(_CHUNK)
            if not first:
                writer.close()
                return
            loses = False
            if first.startswith(b"POST "):
                self.posts += 1
                loses, self._loses = self._loses > 0, max(self._loses - 1, 0)
            try:
                ours, theirs = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                writer.transport.abort()
                return
            theirs.write(first)
            sending = asyncio.ensure_future(_copy(reader, theirs))
            try:
                if loses:
                    await ours.read(1)
                else:
                    await _copy(ours, writer)
            finally:
                sending.cancel()
                theirs.transport.abort()
                if loses:
                    writer.transport.abort()
                else:
                    writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()
