"""What the service answers is what its schema says."""

from typing import Any

import jsonschema
import pytest
import yaml
from django.test import Client

from tests.api.test_read import URL, completed, post
from tests.videos.scripted import ScriptedClient
from upstreams.registry import Upstream
from videos.lifecycle.send import submit_next
from videos.lifecycle.sweep import sweep
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
