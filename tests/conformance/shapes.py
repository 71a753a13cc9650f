"""`python -m tests.conformance.shapes`: records how the real servers answer, for the simulator's profiles.

Writes `tests/simulator/shapes/SERVER.json`. Exits with 2 if a server cannot be installed.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.conformance.environments import NotInstalled, installed, version_of
from tests.conformance.litellm_proxy import LiteLLM
from tests.conformance.servers import Server
from tests.conformance.trial import SERVERS
from tests.simulator.profiles.walk import Target, save, walk


def main() -> int:
    """Walk through each server and keep what it answered."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.shapes", description=__doc__)
    parser.add_argument("--only", choices=SERVERS, help="one server")
    only = parser.parse_args().only
    try:
        for name in [only] if only else SERVERS:
            installed(name)
            with tempfile.TemporaryDirectory(prefix="shapes-") as folder, ExitStack() as stack:
                server = SERVERS[name](Path(folder))
                stack.callback(server.end)
                server.start()
                seen = walk(_target(server))
            save(name, version_of(name), seen)
            print(f"{name}: {len(seen)} answers")
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _target(server: Server) -> Target:
    def running(prompt: str) -> str:
        if isinstance(server, LiteLLM):
            server.simulator.arm(operation="create", fault="stuck")
            return prompt
        # The stand-in engine takes long for a prompt with this word.
        return f"{prompt}, slow"

    return Target(
        dialect=server.dialect,
        url=f"http://127.0.0.1:{server.port}/v1",
        model=server.model,
        failing=server.failing,
        running=running,
    )


if __name__ == "__main__":
    sys.exit(main())
