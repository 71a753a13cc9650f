"""`python -m simulator`: serves until it is told to stop."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
import sys
from pathlib import Path

from simulator.http.server import CannotStart, Simulator
from simulator.profiles import PROFILES
from simulator.state.store import StateTaken, Store

_STOP_SECONDS = 0.8


async def _serve(simulator: Simulator) -> None:
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(simulator.run())

    def stop() -> None:
        for name in (signal.SIGINT, signal.SIGTERM):
            # The first is enough; a second must not cut the tidying short.
            loop.add_signal_handler(name, lambda: None)
        serving.cancel()
        # Whatever hangs then, the state file is whole at every moment.
        loop.call_later(_STOP_SECONDS, os._exit, 0)

    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulator", description="A stand-in for OpenAI's Videos API; see simulator/README.md."
    )
    add = parser.add_argument
    add("--profile", choices=PROFILES, default="openai", help="the server that it answers like")
    add("--model", help="the one model of a profile that has one")
    add("--host", default="127.0.0.1")
    add("--port", type=_port, default=9000, help="0 takes a free one")
    add("--socket", type=int, metavar="FD", help="listen on this inherited socket instead")
    add("--state", type=Path, default=Path("var/simulator/state.sqlite3"), help="the file that keeps all")
    add("--render-seconds", type=_seconds, default=6.0, help="how long a render takes; 0 is at once")
    add("--expires-seconds", type=_seconds, default=3600.0, help="how long finished content is served")
    add("--renders", type=int, choices=(1, 2), default=1, help="render processes at a time")
    add("--tiny", action="store_true", help="serve one tiny clip for all jobs, for load")
    add("--api-key", help="the only key that is valid; without it any key is")
    add("--strict", action="store_true", help="only the seconds and sizes of the OpenAPI file")
    add("--poll-after-ms", type=int, help="send openai-poll-after-ms")
    add("--bill-failed", action="store_true", help="the ledger bills failed jobs as well")
    add("--webhook-url")
    add("--webhook-secret", help="whsec_… in base64, or any text")
    add("--webhook-retry-seconds", type=_seconds, default=1.0, help="until the first retry, then doubling")
    add("--ready-file", type=Path, help="gets the URL when the simulator is ready")
    add("--exit-with-parent", action="store_true", help="end when the process that started it ends")
    add("--clock-offset", type=float, default=0.0, help="seconds that its clock is ahead")
    add("--count-ids", action="store_true", help="ids are video_1, video_2 and so on")
    add("--verbose", action="store_true", help="one line per request on standard error")
    options = parser.parse_args()
    options.parent = os.getppid()
    options.state = options.state.absolute()
    hooks = PROFILES[options.profile].hooks
    try:
        options.webhook = hooks.endpoint(
            options.webhook_url, options.webhook_secret or "", options.webhook_retry_seconds
        )
    except ValueError as error:
        parser.error(str(error))
    return options


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError("seconds are a number, 0 or more")
    return seconds


def main() -> int:
    """The exit code: 0 when told to stop, 1 when it cannot start."""
    options = _options()
    # What goes wrong is answered and told in one line; the library's own tracebacks of bad requests are not.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    try:
        store = Store(options.state)
    except (StateTaken, OSError, sqlite3.Error) as error:
        return _fail(f"cannot use the state file {options.state}: {error}")
    try:
        asyncio.run(_serve(Simulator(options, store)))
    except CannotStart as error:
        return _fail(str(error))
    finally:
        store.close()
    return 0


def _say(message: str) -> None:
    sys.stderr.write(f"simulator: {message}\n")


def _fail(message: str) -> int:
    _say(message)
    return 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main())
