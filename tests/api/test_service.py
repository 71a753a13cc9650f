from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import InterfaceError, OperationalError
from django.test import Client

from tests.api.test_create import problem
from videos.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def anybody(api: Client) -> Client:
    return Client()


def test_health_needs_no_key_and_no_database(anybody: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        response = anybody.get("/health")
    assert response.status_code == 200
    assert set(response.json()) == {"status", "timestamp", "uptime", "version"}
    assert response.json()["status"] == "ok"
    assert response.json()["timestamp"].endswith("Z")


def test_an_address_that_leads_nowhere_is_404_in_the_envelope(anybody: Client) -> None:
    response = anybody.get("/api/v1/nothing")
    assert response.status_code == 404
    assert problem(response)["code"] == "not_found"


def test_a_bug_is_500_in_the_envelope_and_in_the_log(
    api: Client, job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("videos.api.views.cancel", bug)
    api.raise_request_exception = False
    response = api.delete(f"/api/v1/videos/{job.pk}")
    assert response.status_code == 500
    assert problem(response)["code"] == "internal_error"
    assert "a bug" in caplog.text
    assert "a bug" not in response.content.decode()


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")])
def test_a_database_that_is_away_is_503_and_accepts_nothing(
    api: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("videos.api.views.create", away)
    response = api.post("/api/v1/videos", '{"prompt": "boat"}', content_type="application/json")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert problem(response)["code"] == "database_unavailable"
    assert "same Idempotency-Key" in problem(response)["message"], "a commit may have been made"
    assert str(error) in caplog.text
    assert str(error) not in response.content.decode()
    assert Job.objects.count() == 0


def test_an_unknown_host_is_400(anybody: Client) -> None:
    assert problem(anybody.get("/health", headers={"host": "evil.example"}))["code"] == "bad_request"


@pytest.mark.parametrize("given", ["abc-123", "A.b_c:d"])
def test_a_request_id_is_taken_and_answered(anybody: Client, given: str) -> None:
    assert anybody.get("/health", headers={"x-request-id": given})["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ü", "a\tb"])
def test_an_unusable_request_id_is_replaced(anybody: Client, given: str) -> None:
    answered = anybody.get("/health", headers={"x-request-id": given})["X-Request-Id"]
    assert answered != given
    assert len(answered) == 32


def test_the_docs_are_there_without_anything_from_elsewhere(anybody: Client) -> None:
    page = anybody.get("/docs")
    assert page.status_code == 200
    assert b"https://" not in page.content.replace(b"https://github.com/tfranzel", b"")


@pytest.fixture
def schema(anybody: Client) -> dict[str, Any]:
    return dict(yaml.safe_load(anybody.get("/schema").content))


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_each_operation_has_an_id_a_tag_an_example_and_its_security(schema: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(ids) == len(set(ids)) == 46
    for path, _, operation in operations(schema):
        assert operation["tags"]
        assert operation["summary"]
        if path.startswith(("/api/v1", "/api/videos")):
            link = [{"signedLink": []}] if operation["operationId"] == "getVideoContent" else []
            assert operation["security"] == [*link, {"apiKey": []}, {"bearer": []}, {"cookie": []}]
        if "requestBody" in operation:
            assert all(content["examples"] for content in operation["requestBody"]["content"].values())
        for status, response in operation["responses"].items():
            for kind, content in response.get("content", {}).items():
                if kind == "application/json":
                    assert "example" in content or "examples" in content, (path, status)


def test_each_operation_of_the_api_says_its_errors(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        if not path.startswith("/api/v1"):
            continue
        statuses = set(operation["responses"])
        assert {"401", "429"} <= statuses
        assert ("404" in statuses) == ("{id}" in path)
        if method == "post" and "requestBody" in operation:
            assert {"400", "413", "415"} <= statuses


def test_every_reference_in_the_schema_leads_somewhere(schema: dict[str, Any]) -> None:
    def references(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for inner in node.values():
                yield from references(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from references(inner)

    found = set(references(schema))
    assert found
    for reference in found:
        name = reference.removeprefix("#/components/schemas/")
        assert name in schema["components"]["schemas"], reference


def test_the_example_of_the_environment_names_every_setting() -> None:
    root = Path(__file__).resolve().parents[2]
    import re

    files = [*(root / "config/settings").glob("*.py"), root / "config/pulse.py"]
    code = "".join(path.read_text() for path in files)
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', code))
    read |= set(re.findall(r'(?:url_with_password|postgresql)\(\s*"[A-Z_]+",\s*"([A-Z_]+)"', code))
    read |= set(re.findall(r'_count\("(WEB_[A-Z_]+)"', (root / "config/server.py").read_text()))
    shown = set(re.findall(r"^#([A-Z_]+)=", (root / ".env.example").read_text(), re.M))
    # These two are what `make up` tells its own processes.
    assert read - shown == {"TAKEONE_SIMULATOR_URL", "TAKEONE_EMBEDDED"}
    assert shown - read == set()
