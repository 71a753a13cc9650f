"""What the service answers is what its schema says."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
import yaml
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Budget, User
from tests.api.test_read import URL, completed, post
from tests.docs import error_codes
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job

pytestmark = pytest.mark.django_db

__all__ = ["completed"]


@pytest.fixture
def schema(db: None) -> dict[str, Any]:
    return dict(yaml.safe_load(Client().get("/schema").content))


def strict(node: Any, components: dict[str, Any]) -> Any:
    """An OpenAPI 3.0 schema as a JSON Schema that allows no further property."""
    if isinstance(node, list):
        return [strict(each, components) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return strict(components[node["$ref"].rpartition("/")[2]], components)
    found = {name: strict(value, components) for name, value in node.items() if name != "nullable"}
    if node.get("nullable"):
        return {"anyOf": [{"type": "null"}, found]}
    if "properties" in found and "additionalProperties" not in found and "allOf" not in found:
        found["additionalProperties"] = False
    return found


def whole(node: dict[str, Any]) -> dict[str, Any]:
    """Merges the parts of an allOf, which one by one would forbid each other's properties."""
    merged: dict[str, Any] = {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }
    for part in node["allOf"]:
        merged["properties"] |= part["properties"]
        merged["required"] += part.get("required", [])
    return merged


def check(schema: dict[str, Any], method: str, path: str, response: Any) -> None:
    said = schema["paths"][path][method]["responses"][str(response.status_code)]
    found = strict(said["content"]["application/json"]["schema"], schema["components"]["schemas"])
    if "allOf" in found:
        found = whole(found)
    jsonschema.Draft202012Validator(found).validate(response.json())


def test_every_kind_of_answer_is_as_the_schema_says(
    api: Client,
    schema: dict[str, Any],
    job: Job,
    completed: Job,
    make_job: Any,
    upstream: Upstream,
    sora: ScriptedClient,
) -> None:
    failed = make_job(duration=10, style="calm", metadata={"a": 1})
    submit_next(upstream)
    sora.fail(str(failed.submissions.get().upstream_id))
    sweep(upstream)
    pending = make_job()
    one = "/api/v1/videos/{id}"
    created = api.post(URL, '{"prompt": "boat", "duration": 10}', content_type="application/json")
    check(schema, "post", "/api/v1/videos", created)
    check(schema, "get", "/api/v1/videos", api.get(URL))
    for each in (completed, failed, pending):
        check(schema, "get", one, api.get(f"{URL}/{each.pk}"))
    check(schema, "get", f"{one}/result", api.get(f"{URL}/{completed.pk}/result"))
    check(schema, "get", f"{one}/result", api.get(f"{URL}/{pending.pk}/result"))
    check(schema, "post", f"{one}/retry", post(api, f"/{failed.pk}/retry"))
    check(schema, "post", f"{one}/retry", post(api, f"/{pending.pk}/retry"))
    check(schema, "post", f"{one}/sync", post(api, f"/{pending.pk}/sync"))
    check(schema, "delete", one, api.delete(f"{URL}/{pending.pk}"))
    check(schema, "delete", one, api.delete(f"{URL}/{pending.pk}"))
    check(schema, "post", "/api/v1/videos", api.post(URL, "{", content_type="application/json"))
    check(schema, "get", one, Client().get(f"{URL}/{pending.pk}"))
    for address in ("/health", "/metrics"):
        check(schema, "get", address, api.get(address))


def test_an_answer_that_the_schema_does_not_know_is_found(
    api: Client, schema: dict[str, Any], job: Job
) -> None:
    del schema["components"]["schemas"]["Job"]["properties"]["stage"]
    with pytest.raises(jsonschema.ValidationError):
        check(schema, "get", "/api/v1/videos/{id}", api.get(f"{URL}/{job.pk}"))


def test_every_example_is_as_the_schema_says(schema: dict[str, Any]) -> None:
    components = schema["components"]["schemas"]
    seen = 0
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            for response in operation["responses"].values():
                content = response.get("content", {}).get("application/json")
                if content is None or not path.startswith("/api/"):
                    continue
                found = strict(content["schema"], components)
                if "allOf" in found:
                    found = whole(found)
                examples = [each["value"] for each in content.get("examples", {}).values()]
                for example in [*examples, *([content["example"]] if "example" in content else [])]:
                    jsonschema.Draft202012Validator(found).validate(example)
                    seen += 1
    assert seen > 30


def requests_of(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The schema of each JSON body that a call takes, by operation."""
    found = {}
    for methods in schema["paths"].values():
        for operation in methods.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None and operation["operationId"] not in {
                "receiveProviderEvent",
                "receiveCallback",
            }:
                name = body["schema"]["$ref"].rpartition("/")[2]
                found[operation["operationId"]] = schema["components"]["schemas"][name]
    return found


def test_bodies_that_refuse_unknown_fields_say_so(schema: dict[str, Any]) -> None:
    closed = {name: body.get("additionalProperties") for name, body in requests_of(schema).items()}
    assert {"createVideo", "createBatch", "generateVideo", "logIn", "createKey"} <= closed.keys()
    assert {name for name, more in closed.items() if more is not False} == set()


def test_a_field_with_a_default_need_not_be_sent(schema: dict[str, Any]) -> None:
    """Generators of TypeScript take what has a default for what is always there."""
    bodies = {
        name: each for name, each in schema["components"]["schemas"].items() if name.endswith("Request")
    }
    fit = bodies["CreateVideoRequest"]["properties"]["fit"]
    assert "Default: nearest." in fit["description"]
    assert "fit" not in bodies["CreateVideoRequest"]["required"]
    for name, body in bodies.items():
        for field, described in body.get("properties", {}).items():
            assert "default" not in described, f"{name}.{field}"


@pytest.mark.parametrize("name", ["metadata", "extra"])
def test_an_object_of_an_upload_is_shown_as_text(schema: dict[str, Any], name: str) -> None:
    parameters = schema["paths"]["/api/v1/batches"]["post"]["parameters"]
    (found,) = (each for each in parameters if each["name"] == name)
    assert found["schema"]["type"] == "string"


def test_an_idempotency_key_has_its_length_and_pattern(schema: dict[str, Any]) -> None:
    found = {}
    for methods in schema["paths"].values():
        for operation in methods.values():
            for each in operation.get("parameters", []):
                if each["name"] == "Idempotency-Key":
                    found[operation["operationId"]] = each["schema"]
    assert {"createVideo", "retryVideo", "createBatch", "uploadBatch", "generateVideo"} <= found.keys()
    for key in found.values():
        assert (key["minLength"], key["maxLength"]) == (1, 255)
        assert re.fullmatch(key["pattern"], "a-key")
        assert not re.fullmatch(key["pattern"], "a key")


def test_every_error_code_is_in_it(schema: dict[str, Any]) -> None:
    components = schema["components"]["schemas"]
    error = components["Error"]["properties"]["error"]["properties"]
    assert set(error["code"]["enum"]) == error_codes.answer_codes().keys()
    problems = error["details"]["description"].partition("Codes: ")[2].rstrip(".").split(", ")
    assert set(problems) == error_codes.item_codes()
    told = components["Failure"]["properties"]["code"]["description"]
    assert set(re.findall(r"\w*_\w*", told)) == error_codes.job_codes()


MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def moments(node: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text that begins as a moment does."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from moments(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from moments(value, name)
    elif isinstance(node, str) and re.match(r"\d{4}-\d\d-\d\dT", node):
        yield name, node


def test_moments_end_in_milliseconds_on_every_face(api: Client, completed: Job, owner: User) -> None:
    Budget.objects.create(owner=owner, period="day", limit=5)
    ApiKey.issue(owner, "old", scope="admin", expires_at=timezone.now() + timedelta(days=1))
    batch = api.post(f"{URL}/batch", '{"videos": [{"prompt": "a"}]}', content_type="application/json").json()
    addresses = [
        *(URL, f"{URL}/{completed.pk}", f"/api/videos/{completed.pk}", "/api/v1/usage", "/health", "/ready"),
        *("/api/v1/batches", f"/api/v1/batches/{batch['data']['batchId']}"),
    ]
    found = [each for address in addresses for each in moments(api.get(address).json())]
    assert len(found) > 10
    assert [(name, text) for name, text in found if not MILLISECONDS.fullmatch(text)] == []
