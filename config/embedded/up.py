"""`make up`: runs everything in the foreground, on one machine, with nothing else installed.

Prepares the database, starts the simulator unless the settings name another upstream, and is the web server
then, whose worker process runs the Celery worker and beat as threads.
"""

import argparse
import gc
import io
import itertools
import os
import shlex
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from config.embedded.shell import env_file, first_key, var_dir, write_env

_SIMULATOR_WAIT_SECONDS = 15
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def fail(message: str) -> NoReturn:
    """Prints one line and exits with 1."""
    print(f"make up: {message}", file=sys.stderr)
    raise SystemExit(1)


def main() -> None:
    """Prepares, then serves."""
    parser = argparse.ArgumentParser(prog="python -m config.embedded.up", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    if not 1 <= arguments.port <= 65535:
        fail(f"a port is from 1 to 65535, not {arguments.port}; try make up PORT=8123.")
    _refuse_taken(arguments.host, arguments.port)
    given = os.environ.get("TAKEONE_URL", "")
    # An address on this machine was written by an earlier start, perhaps on another port.
    if not given or urlsplit(given).hostname in _LOOPBACK:
        os.environ["TAKEONE_URL"] = f"http://{_in_url(arguments.host)}:{arguments.port}"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    # A person reads the log in this shell.
    os.environ.setdefault("LOG_FORMAT", "text")
    # Read by the settings and by gunicorn's.
    os.environ |= {
        "TAKEONE_EMBEDDED": "1",
        "TAKEONE_BIND": f"{_in_url(arguments.host)}:{arguments.port}",
    }
    # The database's folder, which the secret key and the simulator have made if they were not given.
    var_dir()
    simulator = _start_simulator() if _wants_simulator() else None
    try:
        _prepare(simulator)
    except BaseException:
        if simulator is not None:
            simulator.terminate()
        raise
    _serve()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _wants_simulator() -> bool:
    if os.environ.get("UPSTREAMS_FILE", "").strip():
        return False
    chosen = os.environ.get("SORA_BASE_URL", "").strip().rstrip("/")
    # A shell that has sourced var/takeone.env carries the address of an earlier simulator.
    return not chosen or chosen == os.environ.get("TAKEONE_SIMULATOR_URL", "").strip().rstrip("/")


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            fail(f"{host}:{port} cannot be used ({error.strerror}); try make up PORT={port + 1}.")


def _start_simulator() -> subprocess.Popen[bytes]:
    """Starts it on a socket that is open here, so that its address is known before it is ready."""
    folder = var_dir() / "simulator"
    folder.mkdir(exist_ok=True)
    _ready_file().unlink(missing_ok=True)
    options = shlex.split(os.environ.get("SIMULATOR_OPTIONS", ""))
    if any(each.startswith(("--port", "--host")) for each in options):
        fail("SIMULATOR_OPTIONS may name neither a host nor a port; run `python -m simulator` for that.")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", "simulator", "--socket", str(listening.fileno())]
        command += ["--state", str(folder / "state.sqlite3")]
        command += ["--ready-file", str(_ready_file()), "--exit-with-parent"]
        command += options
        simulator = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[listening.fileno()],
        )
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    os.environ |= {
        "SORA_BASE_URL": url,
        "TAKEONE_SIMULATOR_URL": url,
        "TAKEONE_SIMULATOR_PID": str(simulator.pid),
    }
    return simulator


def _ready_file() -> Path:
    return var_dir() / "simulator" / "url"


def _await_simulator(simulator: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _SIMULATOR_WAIT_SECONDS
    while not _ready_file().exists():
        if simulator.poll() is not None:
            fail("the simulator did not start; its own line above says why.")
        if time.monotonic() > ends:
            fail(f"the simulator did not start within {_SIMULATOR_WAIT_SECONDS} s.")
        time.sleep(0.02)


def _prepare(simulator: subprocess.Popen[bytes] | None) -> None:
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import call_command
    from django.core.management.base import SystemCheckError
    from django.db import DatabaseError, connection

    try:
        django.setup()
        call_command("check", stdout=io.StringIO())
        # Before anything is changed: another `make up` may use the folder.
        if simulator is not None:
            _await_simulator(simulator)
        _migrate()
    except (ImproperlyConfigured, SystemCheckError, ValueError) as error:
        fail(f"the settings cannot be used. {error}")
    except DatabaseError as error:
        fail(f"the database cannot be used: {str(error).strip()}")
    from config.startup.first_user import login_link
    from config.startup.greeting import greeting
    from upstreams import registry

    secret = first_key()
    link = login_link()
    # The processes that serve open their own.
    connection.close()
    write_env(secret)
    os.environ["TAKEONE_GREETING"] = greeting(
        os.environ["TAKEONE_URL"],
        registry.configured().described,
        f". {shlex.quote(str(env_file()))}",
        link,
        ends=" (Ctrl-C ends it)",
    )


def _serve() -> NoReturn:
    """Is gunicorn from now on. Its worker process inherits all that is imported here by now."""
    import gunicorn.app.wsgiapp  # type: ignore[import-untyped]

    os.chdir(Path(__file__).resolve().parents[2])
    # A collection in either process would write to all that they share, and so make copies.
    gc.collect()
    gc.freeze()
    sys.argv = [
        str(Path(gunicorn.__file__).with_name("__main__.py")),
        "-c",
        "python:config.server",
        "config.wsgi",
    ]
    # gunicorn ends the process.
    sys.exit(gunicorn.app.wsgiapp.run())


def _migrate() -> None:
    """Migrates the database to this version. If it has data, it is copied first."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    from config.startup.schema import read_schema

    schema = read_schema()
    if schema.unknown:
        fail(schema.fault)
    if not schema.pending:
        return
    name = settings.DATABASES["default"]["NAME"]
    if connection.vendor == "sqlite" and connection.introspection.table_names():
        copy = _unused(f"{name}.before-{settings.VERSION}")
        with (
            closing(sqlite3.connect(name)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        print(f"make up: the database is brought to version {settings.VERSION}; its copy is {copy}.")
    call_command("migrate", verbosity=0, interactive=False)


def _unused(name: str) -> Path:
    """The path of this name, or with a number if there is one: a copy of before may be the only good one."""
    names = itertools.chain([name], (f"{name}.{number}" for number in itertools.count(2)))
    return next(path for path in map(Path, names) if not path.exists())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        # Ctrl-C before the web server has taken over.
        raise SystemExit(130) from None
