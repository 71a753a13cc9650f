"""Which requests are a caller's: those that bring a key that was issued, and still opens something."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.keys import key_format
from accounts.models import ApiKey, User
from tests.api.test_create import problem
from videos.models import Job

URL = "/api/v1/videos"


def ask(**headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Client(headers=given).get(URL)


def status(**headers: str) -> int:
    response = ask(**headers)
    if response.status_code == 401:
        assert problem(response)["code"] == "unauthorized"
        assert response["WWW-Authenticate"] == "Bearer"
    return int(response.status_code)


def reason(**headers: str) -> str:
    response = ask(**headers)
    assert response.status_code == 401
    return str(problem(response)["details"]["reason"])


def test_a_key_that_was_not_issued_is_unknown_whatever_others_there_are(secret: str) -> None:
    assert status(x_api_key=secret) == 200
    wrong = key_format.generate()
    assert reason(x_api_key=wrong) == "unknown"
    assert reason(authorization=f"Bearer {wrong}") == "unknown"


MALFORMED = [
    "wrong",
    "takeone_",
    "takeone_4fJ0",
    "{secret}x",
    "x{secret}",
    "{half}",
    "{typo}",
    "{upper}",
    "{secret},{secret}",
    '"{secret}"',
    "Bearer {secret}",
    "takeone_E-xKXh0Zz7w_9KjT9nq1mPzJ4H2v7cQk8sY5rLw0aBc",
    "\xe9" * 57,
]


@pytest.mark.parametrize("form", MALFORMED)
def test_a_malformed_key_is_refused_without_the_database(
    secret: str, form: str, django_assert_num_queries: Any, caplog: pytest.LogCaptureFixture
) -> None:
    typo = secret[:20] + ("a" if secret[20] != "a" else "b") + secret[21:]
    wrong = form.format(secret=secret, half=secret[:30], typo=typo, upper=secret.upper())
    for headers in ({"x_api_key": wrong}, {"authorization": f"Bearer {wrong}"}):
        with django_assert_num_queries(0):
            response = ask(**headers)
        assert response.status_code == 401
        assert problem(response)["details"] == {"reason": "malformed"}
        assert "49 letters and digits" in problem(response)["message"]
        assert secret[8:20] not in response.content.decode()
    assert secret[8:20] not in caplog.text


def test_an_unknown_key_is_neither_quoted_nor_logged(db: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    unknown = key_format.generate()
    response = ask(x_api_key=unknown)
    assert problem(response)["details"] == {"reason": "unknown"}
    assert unknown[8:] not in response.content.decode()
    assert unknown[8:] not in caplog.text


def test_a_revoked_key_opens_nothing(owner: User, secret: str) -> None:
    ApiKey.objects.get().revoke()
    assert reason(x_api_key=secret) == "revoked"


def test_an_expired_key_opens_nothing_and_says_since_when(owner: User) -> None:
    ends = timezone.now() + timedelta(hours=1)
    key, secret = ApiKey.issue(owner, "first", expires_at=ends)
    assert status(x_api_key=secret) == 200
    key.expires_at = timezone.now()
    key.save()
    response = ask(x_api_key=secret)
    assert response.status_code == 401
    assert problem(response)["details"] == {"reason": "expired"}
    assert f"{key.expires_at:%Y-%m-%d %H:%M} UTC" in problem(response)["message"]


def test_a_key_of_an_inactive_owner_opens_nothing(owner: User, secret: str) -> None:
    User.objects.update(is_active=False)
    assert reason(x_api_key=secret) == "inactive"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_is_a_key(secret: str, scheme: str) -> None:
    assert status(authorization=f"{scheme} {secret}") == 200


@pytest.mark.parametrize("scheme", ["Basic ", "Token ", ""])
def test_a_key_in_another_scheme_is_refused_as_one(secret: str, scheme: str) -> None:
    assert reason(authorization=scheme + secret) == "scheme"
    assert reason(authorization=scheme + secret, x_api_key=secret) == "scheme"


@pytest.mark.parametrize("other", ["Basic YWRhOmFkYQ==", "Token abc", "Digest", ""])
def test_what_is_no_bearer_token_is_no_key(secret: str, other: str) -> None:
    response = ask(authorization=other)
    assert response.status_code == 401
    assert problem(response)["details"] is None
    assert status(authorization=other, x_api_key=secret) == 200


@pytest.mark.parametrize(
    "empty", [{"x_api_key": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer "}]
)
def test_an_empty_key_is_refused_as_one(secret: str, empty: dict[str, str]) -> None:
    assert reason(**empty) == "malformed"


def test_two_keys_that_differ_are_one_clear_error(owner: User, secret: str) -> None:
    other = ApiKey.issue(owner, "other")[1]
    assert status(x_api_key=secret, authorization=f"Bearer {secret}") == 200
    for one, another in ((secret, other), (secret, "wrong"), (secret, ""), ("", secret)):
        response = ask(x_api_key=one, authorization=f"Bearer {another}")
        assert response.status_code == 400
        assert problem(response)["code"] == "two_keys"


@pytest.mark.parametrize(
    "query",
    [
        "x-api-key={secret}",
        "X-API-Key={secret}",
        "api_key={secret}",
        "apikey={secret}",
        "apiKey={secret}",
        "key={secret}",
        "token={secret}",
        "access_token={secret}",
        "api_key=hunter2",
        "api_key=",
        "status={secret}",
        "status={half}",
        "{secret}",
        "{secret}=1",
        "page=1&limit=2&q=see+{secret}",
        "key=1&key={secret}",
        "a=%74akeone_{tail}",
    ],
)
@pytest.mark.parametrize("with_header", [True, False])
def test_a_key_in_the_address_is_refused_and_never_logged(
    secret: str, query: str, with_header: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    address = query.format(secret=secret, half=secret[:30], tail=secret[8:])
    client = Client(headers={"x-api-key": secret} if with_header else {})
    for response in (client.get(f"{URL}?{address}"), client.delete(f"/api/v1/keys/1?{address}")):
        assert response.status_code == 400
        assert problem(response)["code"] == "key_in_url"
        assert "revoke" in problem(response)["message"]
        assert secret[12:30] not in response.content.decode()
    said = "".join(
        f"{record.getMessage()} {record.__dict__}" for record in caplog.records if not _is_sql(record)
    )
    assert secret[12:30] not in said
    assert "hunter2" not in said


def _is_sql(record: Any) -> bool:
    return str(record.name).startswith("django.db")


def test_an_address_that_only_looks_a_little_like_it_is_served(secret: str) -> None:
    response = Client(headers={"x-api-key": secret}).get(f"{URL}?limit=3&status=pending")
    assert response.status_code == 200


def test_what_is_refused_does_nothing(job: Job, secret: str) -> None:
    for wrong in ("wrong", key_format.generate()):
        response = Client(headers={"x-api-key": wrong}).delete(f"{URL}/{job.pk}")
        assert response.status_code == 401
    job.refresh_from_db()
    assert job.status == "pending"


def test_the_last_use_is_kept_without_a_write_per_request(secret: str) -> None:
    def writes() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert status(x_api_key=secret) == 200
        # Django shows no prepared statement.
        return sum(str(query["sql"]).startswith("UPDATE") for query in queries)

    assert [writes() for _ in range(4)] == [1, 0, 0, 0]
    assert ApiKey.objects.get().last_used_at is not None


def test_a_key_that_is_refused_was_not_used(owner: User, secret: str) -> None:
    ApiKey.objects.get().revoke()
    status(x_api_key=secret)
    assert ApiKey.objects.get().last_used_at is None
