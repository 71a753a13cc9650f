"""Secrets planted in every header, body and setting are in no log, at the level that says most."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from accounts.keys import key_format
from tests.e2e.caller import is_healthy
from tests.e2e.conftest import Up
from tests.e2e.processes import Program, eventually
from tests.services import free_port
from tests.timeouts import TIMEOUT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(110)]


def canary(name: str) -> str:
    """Recognisable, and long enough to be nothing else."""
    return f"canary{name}c7d1f0a9b3"


@pytest.mark.parametrize(
    ("form", "debug"),
    [pytest.param("text", "[debug", marks=pytest.mark.nightly), ("json", '"level": "debug"')],
)
def test_no_log_has_a_secret(
    up: Callable[..., Up], start_simulator: Callable[..., tuple[Program, str]], form: str, debug: str
) -> None:
    _, upstream = start_simulator()
    hook_secret = "whsec_" + base64.b64encode(canary("hook").encode()).decode()
    settings = {
        "LOG_FORMAT": form,
        "LOG_LEVEL": "DEBUG",
        "GUNICORN_LOG_LEVEL": "debug",
        "SECRET_KEY": canary("secretkey") * 3,
        "SORA_BASE_URL": upstream,
        "SORA_PROVIDER": "rented",
        "SORA_API_KEY": canary("upstreamkey"),
        "SORA_WEBHOOK_SECRET": hook_secret,
        "ALLOW_REGISTRATION": "true",
    }
    service = up(**settings)
    address = service.caller.address
    key = service.caller.headers["x-api-key"]
    planted = {
        "prompt": canary("prompt"),
        "negativePrompt": canary("negative"),
        "metadata": {canary("metadatakey"): canary("metadata")},
    }

    def ask(method: str, path: str, **given: Any) -> requests.Response:
        return requests.request(method, f"{address}{path}", timeout=TIMEOUT, **given)

    headers = {
        "x-api-key": key,
        "Cookie": f"takeone-access={canary('cookie')}; other={canary('othercookie')}",
        "Idempotency-Key": canary("idempotency"),
        "X-Forwarded-For": canary("forwarded"),
        "X-Custom": canary("header"),
        "User-Agent": canary("agent"),
        "Referer": f"https://{canary('referer')}.example/",
    }
    created = ask("POST", "/api/v1/videos", json=planted, headers=headers)
    assert created.status_code == 201, created.text
    job, _ = service.caller.follow(created.json()["data"]["jobId"], within=45)
    assert service.caller.get(job["result"]["videoUrl"]).content[4:8] == b"ftyp"
    # Whatever is refused may be logged as a warning.
    wrong_key = key[:-1] + ("A" if key[-1] != "A" else "B")
    for given in (
        {"headers": {"x-api-key": wrong_key}},
        {"headers": {"Authorization": f"Bearer {canary('bearer')}"}},
        {"headers": {"Authorization": f"Basic {canary('basic')}"}},
        {"params": {"api_key": key}},
        {"params": {"x": key}},
        {"cookies": {"takeone-access": canary("forged")}},
    ):
        assert ask("GET", "/api/v1/videos", **given).status_code in {400, 401}
    broken = {"prompt": canary("broken"), "duration": canary("duration"), canary("field"): 1}
    assert ask("POST", "/api/v1/videos", json=broken, headers={"x-api-key": key}).status_code == 400
    garbage = ask(
        "POST",
        "/api/v1/videos",
        data=f'{{"prompt": "{canary("garbage")}"',
        headers={"x-api-key": key, "Content-Type": "application/json"},
    )
    assert garbage.status_code == 400
    signed = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": f"v1,{canary('signature')}"}
    event = {"type": "video.completed", "data": {"id": canary("event")}}
    assert ask("POST", "/hooks/sora", json=event, headers=signed).status_code == 401
    # Not like the other canaries, which would make it like the person's name.
    password = "gulls drift past 7731 windows"
    person = {"username": "ada", "password": password, "email": f"{canary('email')}@example.com"}
    session = requests.Session()
    assert session.post(f"{address}/api/auth/register", json=person, timeout=TIMEOUT).status_code == 201
    assert (
        session.post(
            f"{address}/api/auth/login",
            json={"username": "ada", "password": canary("wrong")},
            timeout=TIMEOUT,
        ).status_code
        == 401
    )
    csrf = {"X-CSRFToken": session.get(f"{address}/api/auth/me", timeout=TIMEOUT).json()["data"]["csrfToken"]}
    assert session.post(f"{address}/api/auth/refresh", headers=csrf, timeout=TIMEOUT).status_code == 200
    tokens = [cookie.value for cookie in session.cookies if cookie.value]
    assert len(tokens) >= 2

    service.program.interrupt()
    service.program.ends(within=30)
    log = service.program.output
    assert debug in log, "there is something to look through"
    assert "/v1/videos" in log
    lowered = log.lower()
    sent = _planted(json.dumps([planted, settings, headers, broken, person]))
    assert {name for name in sent if name in lowered} == set()
    for secret in (key, wrong_key, hook_secret, password, *tokens):
        assert secret not in log
        assert secret[-20:] not in log


def test_no_log_has_the_passwords_of_servers_that_do_not_answer(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    port = free_port()
    settings = {
        "LOG_LEVEL": "DEBUG",
        "GUNICORN_LOG_LEVEL": "debug",
        "TAKEONE_BIND": f"127.0.0.1:{port}",
        "TAKEONE_VAR": str(tmp_path / "var"),
        # Nobody listens on the first port.
        "DATABASE_URL": f"postgres://ada:{canary('database')}@127.0.0.1:1/takeone",
        "REDIS_URL": f"redis://ada:{canary('redis')}@127.0.0.1:1/0",
    }
    programs = {
        "-m celery -A config worker -P threads": "Connection refused",
        "-m celery -A config beat": "Connection refused",
        "manage.py work": "The database does not answer",
        "-m gunicorn -c python:config.server config.wsgi": "Redis does not answer",
    }
    tries = [(start(command.split(), settings), told) for command, told in programs.items()]
    web = tries[-1][0]
    address = f"http://127.0.0.1:{port}"
    eventually(lambda: web.running() and is_healthy(address), "/health", within=30)
    # The second asks the cache as well.
    for path, status in (("/api/v1/videos", 503), ("/schema", 200)):
        given = {"x-api-key": key_format.generate()} if status == 503 else {}
        assert requests.get(f"{address}{path}", headers=given, timeout=TIMEOUT).status_code == status

    def all_have_tried() -> bool:
        return all(program.running() and told in program.output for program, told in tries)

    eventually(all_have_tried, "a try of each program", within=30)
    for program, _ in tries:
        program.interrupt()
    for program, _ in tries:
        program.process.wait(TIMEOUT)
        assert "canary" not in program.output.lower(), program.name


def _planted(text: str) -> set[str]:
    """All canaries in what was sent, and those that were sent in passing."""
    others = ("bearer", "basic", "forged", "garbage", "signature", "event", "wrong", "hook")
    return {found.lower() for found in re.findall(r"canary\w+?c7d1f0a9b3", text)} | {
        canary(name).lower() for name in others
    }
