"""Which requests are a caller's: those that bring a key that was issued."""

import pytest
from django.test import Client

from tests.api.test_create import problem
from videos.models import Job

URL = "/api/v1/videos"


def status(**headers: str) -> int:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    response = Client(headers=given).get(URL)
    if response.status_code == 401:
        assert problem(response)["code"] == "unauthorized"
        assert response["WWW-Authenticate"] == "Bearer"
    return response.status_code


def test_a_key_that_was_not_issued_is_unknown_whatever_others_there_are(secret: str) -> None:
    assert status(x_api_key=secret) == 200
    for wrong in ("wrong", secret[:-1], secret + "x", secret.upper()):
        assert status(x_api_key=wrong) == 401
        assert status(authorization=f"Bearer {wrong}") == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_is_a_key(secret: str, scheme: str) -> None:
    assert status(authorization=f"{scheme} {secret}") == 200


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
def test_what_is_no_bearer_token_is_no_key(secret: str, scheme: str) -> None:
    assert status(authorization=f"{scheme} {secret}") == 401


@pytest.mark.parametrize("empty", ["", " ", "Bearer", "Bearer "])
def test_an_empty_key_is_none(secret: str, empty: str) -> None:
    assert status(x_api_key="", authorization=empty) == 401


def test_what_is_refused_does_nothing(job: Job, secret: str) -> None:
    response = Client(headers={"x-api-key": "wrong"}).delete(f"{URL}/{job.pk}")
    assert response.status_code == 401
    job.refresh_from_db()
    assert job.status == "pending"
