"""Everything is killed at once, and started again in the same place."""

from collections.abc import Callable

import pytest

from tests.e2e.caller import ledger
from tests.e2e.conftest import Up
from tests.e2e.processes import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(110)]


def test_jobs_survive_and_none_is_paid_twice(up: Callable[..., Up]) -> None:
    # A create that was on its way is given up with its lease, which follows from this timeout.
    patience = {"SORA_TIMEOUT": "2000"}
    service = up(render_seconds=4, **patience)
    prompts = ["A fox", "An owl", "A whale"]
    early = [service.caller.ask_for(prompt) for prompt in prompts[:2]]
    eventually(
        lambda: all(service.caller.job(job)["status"] == "processing" for job in early),
        "two jobs rendering",
        within=20,
    )
    # Nobody waits for the third one: it may be pending, on its way, or rendering.
    late = service.caller.ask_for(prompts[2])

    service.program.kill()
    again = up(render_seconds=4, **patience)

    assert again.caller.headers == service.caller.headers
    for job_id in [*early, late]:
        job, _ = again.caller.follow(job_id, within=60)
        assert job["result"]["fileSize"] > 0
    assert sorted(entry["prompt"] for entry in ledger(again.upstream)) == sorted(prompts)
