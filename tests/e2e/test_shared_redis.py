"""Two deployments on one database of one Redis do not see each other's messages, limits or marks."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.processes import run
from tests.servers import Absent, own_redis
from tests.services import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(110)]

_SETUP = """
import json, sys
import django
django.setup()
from django.core.cache import cache
from config.celery import app
"""
_WRITE = (
    _SETUP
    + """
from videos.queue.wake import publish
for number in range(3):
    publish("attend", provider="none", kind="files", number=number)
cache.set("seen", sys.argv[1], 600)
cache.add("lock", sys.argv[1], 600)
cache.add("counter", 0, 600)
cache.incr("counter")
"""
)
_READ = (
    _SETUP
    + """
taken = []
with app.connection_for_read() as connection:
    queue = app.amqp.queues[app.conf.task_default_queue](connection.default_channel)
    while message := queue.get(no_ack=True):
        taken.append(message.headers["task"])
print(json.dumps([taken, cache.get("seen"), cache.get("lock"), cache.get("counter")]))
"""
)


@pytest.fixture
def broker() -> Iterator[str]:
    try:
        with own_redis(free_port()) as server:
            yield server.url
    except Absent as error:
        pytest.skip(str(error))


def deployment(broker: str, folder: Path, **settings: str) -> dict[str, str]:
    folder.mkdir()
    return {
        "REDIS_URL": broker,
        "TAKEONE_VAR": str(folder),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": uuid.uuid4().hex * 2,
    } | settings


def read(settings: dict[str, str]) -> list[Any]:
    found: list[Any] = json.loads(run(["-c", _READ], settings))
    return found


def keys(broker: str) -> set[str]:
    with redis.Redis.from_url(broker, decode_responses=True) as connection:
        return set(connection.keys())


@pytest.mark.parametrize(
    "named",
    [
        pytest.param(False, id="by their secrets"),
        pytest.param(True, id="by their names", marks=pytest.mark.nightly),
    ],
)
def test_what_one_writes_the_other_does_not_see(broker: str, tmp_path: Path, named: bool) -> None:
    shared = {"SECRET_KEY": "the same for both" * 4} if named else {}
    one, other = (
        deployment(broker, tmp_path / name, **shared, **({"TAKEONE_NAME": name} if named else {}))
        for name in ("one", "other")
    )
    run(["-c", _WRITE, "one"], one)
    ours = keys(broker)
    assert read(other) == [[], None, None, None]
    run(["-c", _WRITE, "other"], other)
    theirs = keys(broker) - ours
    # Every key there is says whose it is.
    for of_one_deployment in (ours, theirs):
        assert len({key.split(":")[0] for key in of_one_deployment}) == 1
        assert all(key.startswith("takeone-") for key in of_one_deployment)
    assert read(one) == [["videos.attend"] * 3, "one", "one", 1]
    assert read(other) == [["videos.attend"] * 3, "other", "other", 1]


def test_processes_of_one_deployment_agree(broker: str, tmp_path: Path) -> None:
    web = deployment(broker, tmp_path / "web")
    worker = deployment(broker, tmp_path / "worker", SECRET_KEY=web["SECRET_KEY"])
    run(["-c", _WRITE, "web"], web)
    assert read(worker) == [["videos.attend"] * 3, "web", "web", 1]


@pytest.mark.parametrize("name", ["a b", "a:b", "ü", "x" * 41, "*"])
def test_a_name_that_cannot_be_used_is_refused(tmp_path: Path, name: str) -> None:
    settings = deployment("redis://127.0.0.1:1/0", tmp_path / "var", TAKEONE_NAME=name)
    code = """
import django
from django.core.exceptions import ImproperlyConfigured
try:
    django.setup()
except ImproperlyConfigured as error:
    print(error)
"""
    assert "TAKEONE_NAME must be" in run(["-c", code], settings)
