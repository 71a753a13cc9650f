"""`make up`: runs everything in the foreground, on one machine, with nothing else installed.

Prepares the database, starts the simulator unless the settings name another upstream, and becomes the
web server, which runs the Celery worker and beat as threads.
"""

import argparse
import io
import itertools
import os
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

_SIMULATOR_WAIT_SECONDS = 15
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def fail(message: str) -> NoReturn:
    """Prints one line and exits with 1."""
    print(f"make up: {message}", file=sys.stderr)
    raise SystemExit(1)


def main() -> None:
    """Prepares, then becomes the web server."""
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
        os.environ["TAKEONE_URL"] = f"http://{arguments.host}:{arguments.port}"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    # A person reads the log in this shell.
    os.environ.setdefault("LOG_FORMAT", "text")
    # The database's folder, which the secret key and the simulator have made if they were not given.
    _var_dir()
    simulator = _start_simulator() if _wants_simulator() else None
    try:
        _prepare(simulator, arguments.host, arguments.port)
    except BaseException:
        if simulator is not None:
            simulator.terminate()
        raise


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


def _var_dir() -> Path:
    # Not from the settings, which read the upstream's address that is still to be found.
    root = Path(__file__).resolve().parents[2]
    var = Path(os.environ.get("TAKEONE_VAR", "").strip() or root / "var")
    var.mkdir(parents=True, exist_ok=True)
    return var


def _start_simulator() -> subprocess.Popen[bytes]:
    folder = _var_dir() / "simulator"
    folder.mkdir(exist_ok=True)
    (folder / "url").unlink(missing_ok=True)
    command = [sys.executable, "-m", "simulator", "--port", "0", "--state", str(folder / "state.sqlite3")]
    command += ["--ready-file", str(folder / "url"), "--exit-with-parent"]
    command += shlex.split(os.environ.get("SIMULATOR_OPTIONS", ""))
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _simulator_url(simulator: subprocess.Popen[bytes]) -> str:
    ready = _var_dir() / "simulator" / "url"
    ends = time.monotonic() + _SIMULATOR_WAIT_SECONDS
    while time.monotonic() < ends:
        if ready.exists():
            return ready.read_text().strip()
        if simulator.poll() is not None:
            fail("the simulator did not start; its own line above says why.")
        time.sleep(0.02)
    fail(f"the simulator did not start within {_SIMULATOR_WAIT_SECONDS} s.")


def _prepare(simulator: subprocess.Popen[bytes] | None, host: str, port: int) -> None:
    if simulator is not None:
        url = _simulator_url(simulator)
        os.environ |= {
            "SORA_BASE_URL": url,
            "TAKEONE_SIMULATOR_URL": url,
            "TAKEONE_SIMULATOR_PID": str(simulator.pid),
        }
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import call_command
    from django.core.management.base import SystemCheckError
    from django.db import DatabaseError, connection

    try:
        django.setup()
        call_command("check", stdout=io.StringIO())
        _migrate()
    except (ImproperlyConfigured, SystemCheckError, ValueError) as error:
        fail(f"the settings cannot be used. {error}")
    except DatabaseError as error:
        fail(f"the database cannot be used: {str(error).strip()}")
    from django.conf import settings

    from config.startup.first_user import login_link
    from config.startup.greeting import greeting
    from upstreams import registry

    secret = _first_key()
    link = login_link()
    connection.close()
    _write_env(secret)

    os.environ |= {
        "TAKEONE_EMBEDDED": "1",
        "TAKEONE_BIND": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "TAKEONE_GREETING": greeting(
            os.environ["TAKEONE_URL"],
            registry.configured().described,
            f". {shlex.quote(str(_env_file()))}",
            link,
            ends=" (Ctrl-C ends it)",
        ),
    }
    os.chdir(settings.BASE_DIR)
    # The simulator answers to signals by itself; the handlers of this process end with it.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    server = [sys.executable, "-m", "gunicorn", "-c", "python:config.server", "config.wsgi"]
    os.execv(sys.executable, server)


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


def _env_file() -> Path:
    return _var_dir() / "takeone.env"


def _first_key() -> str:
    """The API key of var/takeone.env, made at the first start, with all scopes."""
    from accounts.keys.key_format import is_well_formed
    from accounts.models import ApiKey
    from config.startup.first_user import first_user

    kept = ""
    if _env_file().exists():
        for line in _env_file().read_text().splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            if name == "TAKEONE_API_KEY":
                kept = "".join(shlex.split(value)[:1])
    # One of an older form is given up, and so is one that opens nothing any more.
    if not is_well_formed(kept):
        kept = ""
    elif known := ApiKey.of_secret(kept):
        if known.status == ApiKey.Status.ACTIVE:
            return kept
        kept = ""
    # A key that the file keeps goes on working with a new database.
    return ApiKey.issue(first_user(), "make up", scope=ApiKey.Scope.ADMIN, secret=kept)[1]


def _write_env(secret: str) -> None:
    """Writes what a shell needs."""
    values = {
        "TAKEONE_URL": os.environ["TAKEONE_URL"],
        "TAKEONE_API_KEY": secret,
    }
    if chosen := os.environ.get("SORA_BASE_URL"):
        values["SORA_BASE_URL"] = chosen
    if url := os.environ.get("TAKEONE_SIMULATOR_URL"):
        # Says whose address SORA_BASE_URL is: not one that somebody chose.
        values["TAKEONE_SIMULATOR_URL"] = url if url == chosen else ""
    path = _env_file()
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))
    draft.replace(path)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        # Ctrl-C before the web server has taken over.
        raise SystemExit(130) from None
