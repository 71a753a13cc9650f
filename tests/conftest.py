"""What most tests need: a caller, an upstream, a job."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db.backends.postgresql.operations import DatabaseOperations
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, User
from tests.configured import configure
from tests.log_lines import Lines, json_lines
from tests.videos.scripted import ScriptedClient, scripted
from upstreams import clock, registry
from upstreams.offer.fitting import VideoRequest
from upstreams.registry import Upstream
from videos.lifecycle.create import create
from videos.models import Job
from videos.queue.position import estimates

# A test's transaction is open from its first line to its last, and on a busy machine much time may lie
# between two of its statements. Tests of the limit set their own.
_IDLE_SECONDS = 600


def pytest_configure() -> None:
    from django.conf import settings

    settings.DATABASE_IDLE_SECONDS = _IDLE_SECONDS
    # After a test that commits, Django empties all tables. TRUNCATE makes new files for each table and index,
    # and waits for the disk; a few rows are removed in a hundredth of that time.
    DatabaseOperations.sql_flush = _delete_all  # type: ignore[method-assign]


# Django would make these rows anew each time, by the models.
_SAME_EACH_TIME = {"django_content_type", "auth_permission"}


def _delete_all(self: DatabaseOperations, style: Any, tables: Sequence[str], **_: Any) -> list[str]:
    """In one transaction, at whose end the foreign keys are checked."""
    return [f"DELETE FROM {self.quote_name(table)}" for table in tables if table not in _SAME_EACH_TIME]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out, with the reason, what the database of this run cannot show."""
    if _on_sqlite():
        for item in items:
            if item.get_closest_marker("postgres"):
                item.add_marker(pytest.mark.skip(reason="row locks and real races need PostgreSQL"))


def _on_sqlite() -> bool:
    from django.conf import settings

    return settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix(request: pytest.FixtureRequest) -> None:
    """Gives each process a test database of its own; SQLite's is in its memory already.

    pytest-django tells SQLite by the name of Django's own backend, and would make the name of a file of ours.
    """
    if not _on_sqlite():
        request.getfixturevalue("django_db_modify_db_settings_xdist_suffix")


@pytest.fixture(autouse=True)
def _own_media(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.MEDIA_ROOT = tmp_path / "media"
    # Each process its own: clearing a shared one would disturb the tests beside it.
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()
    # What tests change between two reads, is seen at once.
    monkeypatch.setattr(estimates, "SHARED_SECONDS", 0.0)
    # And what a test asks the database is the same each time.
    monkeypatch.setattr(clock, "_KNOWN_SECONDS", 0.0)
    yield
    registry._read.cache_clear()


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def secret(owner: User) -> str:
    return ApiKey.issue(owner, "tests")[1]


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """The only configured upstream."""
    only = scripted()
    configure(monkeypatch, only)
    return only


@pytest.fixture
def sora(upstream: Upstream) -> ScriptedClient:
    client: Any = upstream.client
    assert isinstance(client, ScriptedClient)
    return client


@pytest.fixture
def api(secret: str, upstream: Upstream) -> Client:
    """A caller with a key, before a service whose upstream is the scripted one."""
    return Client(headers={"x-api-key": secret})


@pytest.fixture
def make_job(owner: User, upstream: Upstream) -> Callable[..., Job]:
    """A pending job; its prompt differs from the last one's unless it is given."""
    made = 0

    def make(prompt: str = "", by: User | None = None, **asked: Any) -> Job:
        nonlocal made
        made += 1
        request = VideoRequest(prompt=prompt or f"a paper boat, number {made}", **asked)
        return create(request, owner=by or owner, api_key=None)

    return make


@pytest.fixture
def job(make_job: Callable[..., Job]) -> Job:
    return make_job()


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What this test has logged: all lines, or those of one event."""
    with json_lines() as found:
        yield found


@pytest.fixture
def debug() -> Iterator[None]:
    """Lines at DEBUG are written, too."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
