import csv
import io
import json
from typing import Any

import pytest
from django.test import Client

from batches import manifest
from tests.batches.conftest import MakeBatch, Renders
from videos.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


def read(api: Client, batch_id: Any, kind: str) -> str:
    response = api.get(f"/api/v1/batches/{batch_id}/manifest", {"type": kind})
    assert response.status_code == 200
    assert response.streaming
    assert f'filename="{batch_id}.{kind}"' in response["Content-Disposition"]
    return response.getvalue().decode()


def test_a_manifest_has_a_row_for_each_job_whatever_became_of_it(
    api: Client, make_batch: MakeBatch, renders: Renders
) -> None:
    batch = make_batch(3)
    renders.send()
    renders.end("boat 1")
    renders.end("boat 2", well=False)
    Job.objects.filter(prompt="boat 3").update(metadata={"a": [1]}, ref="last")
    as_json = [json.loads(line) for line in read(api, batch.pk, "jsonl").splitlines()]
    assert [(row["item"], row["prompt"], row["status"]) for row in as_json] == [
        (1, "boat 1", "completed"),
        (2, "boat 2", "failed"),
        (3, "boat 3", "processing"),
    ]
    first, second, third = as_json
    job = Job.objects.get(prompt="boat 1")
    assert first["videoUrl"] == f"http://testserver/api/v1/videos/{job.pk}/content"
    assert (first["settledCost"], first["duration"], first["fileSize"]) == ("0.40", 1.0, job.file_size)
    assert (second["errorCode"], second["videoUrl"]) == ("moderation_blocked", None)
    assert (third["metadata"], third["ref"], third["completedAt"]) == ({"a": [1]}, "last", None)
    as_csv = list(csv.DictReader(io.StringIO(read(api, batch.pk, "csv").removeprefix("\ufeff"))))
    for of_csv, of_json in zip(as_csv, as_json, strict=True):
        assert list(of_csv) == list(of_json)
        for name, value in of_json.items():
            expected = json.dumps(value) if isinstance(value, dict) and value else value
            assert of_csv[name] == str("" if expected in (None, {}) else expected)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff201"]
)
def test_a_spreadsheet_runs_no_cell_of_a_manifest(api: Client, make_batch: MakeBatch, text: str) -> None:
    batch = make_batch(1)
    Job.objects.update(prompt=text, ref=text)
    (row,) = csv.DictReader(io.StringIO(read(api, batch.pk, "csv").removeprefix("\ufeff"), newline=""))
    assert (row["prompt"], row["ref"]) == (f"'{text}", f"'{text}")
    # What is no spreadsheet gets it as it is.
    assert json.loads(read(api, batch.pk, "jsonl"))["prompt"] == text


def test_a_manifest_is_read_some_jobs_at_a_time(
    api: Client, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(manifest, "_TOGETHER", 2)
    batch = make_batch(5)
    lines = manifest.json_lines(batch.pk, {"request": api.get("/health").wsgi_request})
    with django_assert_num_queries(2):
        next(lines), next(lines)
    with django_assert_num_queries(2):
        next(lines)
    assert len(list(lines)) == 2


@pytest.mark.parametrize("kind", ["xml", ""])
def test_another_form_is_refused(api: Client, make_batch: MakeBatch, kind: str) -> None:
    response = api.get(f"/api/v1/batches/{make_batch(1).pk}/manifest", {"type": kind})
    assert response.status_code == 400
    assert "csv, jsonl" in response.json()["error"]["message"]


def test_a_spreadsheet_knows_that_a_manifest_is_utf8(api: Client, make_batch: MakeBatch) -> None:
    batch = make_batch(1)
    Job.objects.update(prompt="Ein Boot für Zoë")
    content = api.get(f"/api/v1/batches/{batch.pk}/manifest?type=csv").getvalue()
    assert content.startswith(b"\xef\xbb\xbfitem,")
    assert content.count(b"\xef\xbb\xbf") == 1


@pytest.mark.parametrize("text", ["=1+1", "-1", "'=1", "''+1", "'", "'a", "it's", "@", "a=1", "'\uff1d1"])
def test_what_a_manifest_shows_comes_back_as_it_was(api: Client, make_batch: MakeBatch, text: str) -> None:
    batch = make_batch(1)
    Job.objects.update(prompt=text)
    (row,) = csv.DictReader(io.StringIO(read(api, batch.pk, "csv").removeprefix("\ufeff"), newline=""))
    body = io.StringIO()
    csv.writer(body).writerows([["prompt"], [row["prompt"]]])
    answer = api.generic("POST", "/api/v1/batches", body.getvalue(), "text/csv")
    assert answer.status_code == 201, answer.content
    assert Job.objects.latest("id").prompt == text
