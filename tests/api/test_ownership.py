"""Every operation of the schema, asked by everybody, held against a table."""

import base64
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import pytest
import yaml
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, Session, User
from batches.items import Items, Listed
from batches.lifecycle.create import create_batch
from tests.accounts.browser import PASSWORD
from tests.configured import configure
from tests.references.pictures import flat
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job
from videos.results.store import store

pytestmark = pytest.mark.django_db

CALLERS: Final = ("owner", "another owner", "read-only key", "revoked key", "nobody")
# What each caller of CALLERS is answered, in that order.
# No key is asked for, and none is looked at.
OPEN: Final = (200,) * 5
# Only one's own rows are there at all, so there is nothing of another's to hide.
OWN: Final = (200, 200, 200, 401, 401)
ROW: Final = (200, 404, 200, 401, 401)
ROW_WRITTEN: Final = (200, 404, 403, 401, 401)
TABLE: Final[dict[str, tuple[int, ...]]] = {
    "createVideo": (201, 201, 403, 401, 401),
    "estimateVideo": (200, 200, 403, 401, 401),
    "listVideos": OWN,
    "getVideo": ROW,
    "cancelVideo": ROW_WRITTEN,
    "getVideoResult": ROW,
    "retryVideo": ROW_WRITTEN,
    "remixVideo": (201, 404, 403, 401, 401),
    "editVideo": (201, 404, 403, 401, 401),
    "extendVideo": (201, 404, 403, 401, 401),
    "syncVideo": ROW_WRITTEN,
    "getVideoContent": ROW,
    "deleteVideoContent": ROW_WRITTEN,
    "generateVideo": (201, 201, 403, 401, 401),
    # The second seed's API says that there is such a job, and whose it is not.
    "getGeneratedVideo": (200, 403, 200, 401, 401),
    "createBatch": (201, 201, 403, 401, 401),
    "estimateBatch": (200, 200, 403, 401, 401),
    "uploadBatch": (201, 201, 403, 401, 401),
    "estimateUpload": (200, 200, 403, 401, 401),
    "listBatches": OWN,
    "getBatch": ROW,
    "listBatchJobs": ROW,
    "getBatchManifest": ROW,
    "getBatchContent": ROW,
    "cancelBatch": ROW_WRITTEN,
    "pauseBatch": ROW_WRITTEN,
    "resumeBatch": ROW_WRITTEN,
    "retryBatch": ROW_WRITTEN,
    # A picture is named by its id alone, which another owner cannot use: tests/references/test_asked.py.
    "uploadImage": (201, 201, 403, 401, 401),
    "getUsage": OWN,
    "getModels": OWN,
    "createKey": (201, 201, 403, 401, 401),
    "listKeys": (200, 200, 403, 401, 401),
    "getKey": (200, 404, 403, 401, 401),
    "renameKey": (200, 404, 403, 401, 401),
    "revokeKey": (200, 404, 403, 401, 401),
    # A person is known by name and password, and by cookies from then on; a key has no part in it.
    "register": (201,) * 5,
    "logIn": OPEN,
    "refreshSession": (401,) * 5,
    "logOut": (204,) * 5,
    "getMe": OWN,
    # The upstream signs what it sends.
    "receiveProviderEvent": (401,) * 5,
    # Its address is the secret.
    "receiveCallback": (404,) * 5,
    "getHealth": OPEN,
    "getReady": OPEN,
    "getMetrics": OPEN,
}
BODIES: Final[dict[str, Any]] = {
    "createBatch": {"videos": [{"prompt": "boat"}]},
    "estimateBatch": {"videos": [{"prompt": "boat"}]},
    "uploadBatch": "prompt\nboat\n",
    "estimateUpload": "prompt\nboat\n",
    "createVideo": {"prompt": "boat"},
    "estimateVideo": {"prompt": "boat"},
    "remixVideo": {"prompt": "boat"},
    "editVideo": {"prompt": "boat"},
    "extendVideo": {"prompt": "boat"},
    "generateVideo": {"prompt": "boat", "style": "fun", "duration": 4, "aspectRatio": "16:9"},
    "uploadImage": {"url": f"data:image/png;base64,{base64.b64encode(flat()).decode()}"},
    "createKey": {"name": "another", "scope": "read"},
    "renameKey": {"name": "renamed"},
    "register": {"username": "eve", "password": PASSWORD},
    "logIn": {"username": "ada", "password": PASSWORD},
    "receiveProviderEvent": {"type": "video.completed", "data": {"id": "video_1"}},
    "receiveCallback": {"type": "video.generation.completed", "data": {"id": "video_1"}},
}


@dataclass(frozen=True)
class Operation:
    """One operation of the schema."""

    method: str
    path: str


@cache
def operations() -> dict[str, Operation]:
    """All that the schema has, by name."""
    schema = yaml.load(Client().get("/schema").content, yaml.CSafeLoader)
    return {
        said["operationId"]: Operation(method, path)
        for path, methods in schema["paths"].items()
        for method, said in methods.items()
    }


@pytest.fixture
def job(owner: User, upstream: Upstream, sora: ScriptedClient) -> Job:
    """A completed job of ada's, the only one of its batch."""
    items = Items(Listed([{"prompt": "a paper boat"}]), {}, owner)
    create_batch(items, owner=owner, api_key=None)
    made = Job.objects.get()
    submit_next(upstream)
    sora.complete(str(made.submissions.get().upstream_id))
    sweep(upstream)
    store(made.submissions.get(), upstream)
    return made


@pytest.fixture
def callers(owner: User, settings: Settings) -> dict[str, Client]:
    """A client for each of CALLERS; the first and the third are ada's."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

    def with_key(user: User, scope: str) -> tuple[ApiKey, Client]:
        key, secret = ApiKey.issue(user, scope, scope=ApiKey.Scope(scope))
        return key, Client(headers={"x-api-key": secret})

    owner.set_password(PASSWORD)
    owner.save()
    revoked, with_revoked = with_key(owner, "admin")
    revoked.revoke()
    return {
        "owner": with_key(owner, "admin")[1],
        "another owner": with_key(User.objects.create_user("bob"), "admin")[1],
        "read-only key": with_key(owner, "read")[1],
        "revoked key": with_revoked,
        "nobody": Client(),
    }


def state(job: Job) -> list[object]:
    """What no refused call may change."""
    counts = [model.objects.count() for model in (Job, ApiKey, User, Session)]
    return [Job.objects.get(pk=job.pk).status, *counts]


def test_every_operation_is_in_the_table(db: None) -> None:
    assert set(operations()) == set(TABLE)


# Its checks have connections of their own, which on SQLite do not get past the transaction of a test.
_COMMITTED: Final = {"getReady": [pytest.mark.django_db(transaction=True)]}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=_COMMITTED.get(name, [])) for name in sorted(TABLE)]
)
def test_an_operation_answers_each_caller_as_the_table_says(
    name: str,
    caller: str,
    callers: dict[str, Client],
    job: Job,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:
    configure(monkeypatch, replace(upstream, webhook_secrets=("whsec_YQ==",)))
    operation = operations()[name]
    # As each needs it in order to succeed.
    status = {
        "retryVideo": "cancelled", "cancelVideo": "pending", "syncVideo": "pending", "cancelBatch": "pending",
        "pauseBatch": "pending", "resumeBatch": "pending", "retryBatch": "failed",
    }.get(name)  # fmt: skip
    if status:
        Job.objects.filter(pk=job.pk).update(status=status, error_code="x")
    key = ApiKey.objects.filter(owner=job.owner, scope="admin", revoked_at=None)[0]
    its = {"/keys/": key.pk, "/batches/": job.group_id}
    path = operation.path.replace(
        "{id}", str(next((pk for part, pk in its.items() if part in operation.path), job.pk))
    )
    path = path.replace("{jobId}", str(job.pk)).replace("{token}", "1-0")
    assert "{" not in path
    before = state(job)
    call = getattr(callers[caller], operation.method)
    kind = "text/csv" if name in {"uploadBatch", "estimateUpload"} else "application/json"
    sent = {"content_type": kind} if operation.method != "get" else {}
    response = call(path, BODIES.get(name, ""), **sent)
    said = response.getvalue()
    expected = TABLE[name][CALLERS.index(caller)]
    assert response.status_code == expected, said
    if expected >= 400:
        assert state(job) == before
    if expected >= 400 or len(set(TABLE[name])) == 1:
        assert job.prompt not in said.decode()


@pytest.mark.parametrize("name", ["listVideos", "listBatches", "getUsage", "listKeys"])
def test_a_list_shows_ones_own_rows_only(name: str, callers: dict[str, Client], job: Job) -> None:
    operation = operations()[name]
    key = ApiKey.objects.filter(owner=job.owner)[0]
    shown = callers["owner"].get(operation.path).content.decode()
    assert str(job.pk) in shown or str(job.group_id) in shown or key.prefix in shown or "sora-2" in shown
    others = callers["another owner"].get(operation.path).content.decode()
    assert str(job.pk) not in others
    assert str(job.group_id) not in others
    assert job.prompt not in others
    assert key.prefix not in others
    assert "sora-2" not in others


def test_an_idempotency_key_is_ones_own(
    callers: dict[str, Client], upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, upstream)

    def ask(name: str) -> str:
        headers = {"Idempotency-Key": "one"}
        body = {"prompt": "boat"}
        answer = callers[name].post("/api/v1/videos", body, content_type="application/json", headers=headers)
        return str(answer.json()["data"]["jobId"])

    assert ask("owner") == ask("owner") != ask("another owner")
