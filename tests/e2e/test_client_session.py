"""A person's whole session, as the second seed has it, against real processes."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.e2e.caller import ledger
from tests.e2e.conftest import Up
from tests.e2e.processes import eventually
from tests.timeouts import TIMEOUT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

_WISH = {"prompt": "fun science brain animation", "style": "fun", "duration": 8, "aspectRatio": "16:9"}
_WHO = {"username": "ada", "password": "a paper boat at dusk"}


class _Person:
    """A client that keeps cookies, and sends the CSRF token of its log-in."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.http = requests.Session()

    def post(self, path: str, body: Any = None) -> requests.Response:
        answer = self.http.post(f"{self.address}/api/{path}", json=body, timeout=TIMEOUT)
        if path in {"auth/register", "auth/login"}:
            self.http.headers["X-CSRFToken"] = answer.json()["data"]["csrfToken"]
        return answer

    def get(self, path: str) -> requests.Response:
        address = path if path.startswith("http") else f"{self.address}/api/{path}"
        return self.http.get(address, timeout=TIMEOUT)


def test_register_log_in_generate_poll_fetch_log_out(up: Callable[..., Up]) -> None:
    service = up()
    person = _Person(service.caller.address)
    assert person.get("auth/me").status_code == 401
    assert person.post("auth/register", _WHO).status_code == 201
    assert person.post("auth/logout").status_code == 204
    assert person.get("auth/me").status_code == 401
    assert person.post("auth/login", _WHO).status_code == 200
    assert person.get("auth/me").json()["data"]["username"] == "ada"

    made = person.post("videos/generate", _WISH)
    assert made.status_code == 201, made.text
    data = made.json()["data"]
    assert (made.json()["success"], data["status"]) == (True, "queued")
    path = f"videos/{data['jobId']}"
    seen: list[str] = []

    def completed() -> dict[str, Any] | None:
        job: dict[str, Any] = person.get(path).json()["data"]
        seen.append(job["status"])
        return job if job["status"] == "completed" else None

    job = eventually(completed, "a completed job", within=30)
    assert job is not None
    assert {name: job[name] for name in _WISH} == _WISH
    assert job["errorMessage"] is None
    order = ["queued", "processing", "completed"]
    assert seen == sorted(seen, key=order.index)
    # The session is renewed, and goes on.
    assert person.post("auth/refresh").status_code == 200
    video = person.get(job["videoUrl"])
    assert (video.status_code, video.headers["Content-Type"]) == (200, "video/mp4")
    assert video.content[4:8] == b"ftyp"
    assert len(ledger(service.upstream)) == 1

    stolen = person.http.cookies.get_dict()
    assert person.post("auth/logout").status_code == 204
    assert set(person.http.cookies.get_dict()) == {"csrftoken"}
    for address in ("auth/me", path, job["videoUrl"]):
        assert person.get(address).status_code == 401
    assert person.post("videos/generate", _WISH).status_code == 401
    # A copy of the cookies is worth nothing either.
    person.http.cookies.update(stolen)
    assert person.get(path).status_code == 401
    assert len(ledger(service.upstream)) == 1


def test_nobody_acts_for_a_person_without_the_csrf_token(up: Callable[..., Up]) -> None:
    service = up()
    person = _Person(service.caller.address)
    person.post("auth/register", _WHO)
    del person.http.headers["X-CSRFToken"]
    assert person.post("videos/generate", _WISH).status_code == 403
    assert ledger(service.upstream) == []
