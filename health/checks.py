"""The checks of /ready: the database and what it says about the work, the broker, and this machine.

Each raises CheckFailed with what is wrong. None calls the upstream: the row of the provider has its last
contact.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import redis
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from health.readiness import migrations_applied
from health.readiness.probe import CheckFailed
from health.readiness.work import Work, read_work
from upstreams import registry
from videos.results.media import media_problem

HEALTHY: Final = "healthy"
NAMES: Final = ("repository", "soraClient", "broker", "worker", "beat", "storage", "memory")
_REDIS_SECONDS: Final = 0.8
_BLOCK: Final = b"\0" * 4096


def repository() -> Work:
    """Whether the database answers and has this code's migrations. Returns what it knows about the work.

    Uses a new connection of its own, so that a lost network is noticed and no other connection is blocked.
    """
    with _own_connection():
        migrations_applied.require()
        return read_work([upstream.name for upstream in registry.configured()])


@contextmanager
def _own_connection() -> Iterator[None]:
    before = connections[DEFAULT_DB_ALIAS]
    connections[DEFAULT_DB_ALIAS] = _impatient_connection()
    try:
        yield
    except DatabaseError as error:
        # In the words of libpq, by which it says what kind of server it has not found.
        is_standby = "read-only" in str(error) or "takes no writes" in str(error)
        said = "the database takes no writes" if is_standby else "the database does not answer"
        raise CheckFailed(said) from error
    finally:
        connections[DEFAULT_DB_ALIAS].close()
        connections[DEFAULT_DB_ALIAS] = before


def _impatient_connection() -> Any:
    connection: Any = connections.create_connection(DEFAULT_DB_ALIAS)
    options = dict(connection.settings_dict["OPTIONS"])
    if connection.vendor == "postgresql":
        # A check that hangs on a dead network ends by itself, and the next one can begin.
        options |= {"connect_timeout": 2, "tcp_user_timeout": 3000, "keepalives_idle": 2}
        options |= {"keepalives_interval": 1, "keepalives_count": 2}
    else:
        options["timeout"] = 0.5
    connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}
    return connection


def broker() -> None:
    """Whether Redis accepts a write. A full Redis, or a replica, answers a PING and accepts no message."""
    if not settings.REDIS_URL:
        # The embedded one is this process's memory.
        return
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
    )
    try:
        # Names no job, and is gone by itself.
        client.set(f"{settings.DEPLOYMENT}:ready", "1", ex=60)
    except redis.ConnectionError as error:
        raise CheckFailed("Redis does not answer") from error
    except redis.TimeoutError as error:
        raise CheckFailed("Redis does not answer") from error
    except redis.RedisError as error:
        raise CheckFailed("Redis refuses to store messages") from error
    finally:
        client.close()


def uses_broker() -> bool:
    """Whether tasks are published here. Under `manage.py work` alone there is no broker and no beat."""
    return bool(settings.WAKE_MESSAGES_ENABLED)


def mount() -> str:
    """Why the folder is not the one that the database knows; "" if it is."""
    with _own_connection():
        # Anybody may read the answer, so the path is left out, and the bucket's name.
        problem = media_problem().replace(f" {settings.MEDIA_ROOT}", "")
        return problem.replace(f"the bucket {settings.RESULT_BUCKET} ", "the bucket ")


def is_writable(folder: Path) -> None:
    """Whether a file can be written there, or in the parent if the folder is only made with the
    first video."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".ready-") as file:
            file.write(_BLOCK)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CheckFailed("the folder of the videos cannot be written to") from error


def has_room(folder: Path) -> None:
    """Whether MIN_FREE_STORAGE_BYTES are free."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise CheckFailed("the folder of the videos cannot be read") from error
    free = found.f_bavail * found.f_frsize
    if free < settings.MIN_FREE_STORAGE_BYTES:
        raise CheckFailed(f"{free} bytes are free, and there should be {settings.MIN_FREE_STORAGE_BYTES}")


# In this order; what raises first is said.
STORAGE_CHECKS: list[Callable[[Path], None]] = [is_writable, has_room]


def storage() -> None:
    """Whether another video can be stored in the folder, as this process sees it."""
    for check in STORAGE_CHECKS:
        check(Path(settings.MEDIA_ROOT))


def memory() -> None:
    """Whether this machine, or its container, has MIN_FREE_MEMORY_BYTES free."""
    free = free_memory()
    if free is not None and free < settings.MIN_FREE_MEMORY_BYTES:
        raise CheckFailed(f"{free} bytes are free, and there should be {settings.MIN_FREE_MEMORY_BYTES}")


def free_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Free bytes of the machine, or of the container if that has fewer; None if unknown."""
    found = []
    meminfo = proc / "meminfo"
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in lines:
            found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        if limit != "max":
            statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
            # The kernel takes back what it keeps of files before it kills anybody.
            used = int((cgroup / "memory.current").read_text()) - int(statistics.get("inactive_file", 0))
            found.append(max(0, int(limit) - used))
    except (OSError, ValueError):
        # There is no container, or it says nothing of its memory.
        pass
    return min(found, default=None)
