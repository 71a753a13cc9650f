"""`manage.py work`: the work goes on without a broker."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.caller import Caller, ledger
from tests.e2e.processes import Program

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


def test_a_job_is_finished_without_a_broker(
    start: Callable[..., Program],
    start_simulator: Callable[..., tuple[Program, str]],
    start_web: Callable[..., tuple[Program, Caller]],
    tmp_path: Path,
) -> None:
    _, upstream = start_simulator()
    settings = {"TAKEONE_VAR": str(tmp_path / "var"), "SORA_BASE_URL": upstream}
    settings |= {"SORA_PROVIDER": "rented", "SORA_API_KEY": "a-key", "SORA_SYNC_SECONDS_MIN": "1"}
    _, caller = start_web(settings)
    job_id = caller.ask_for("A cat on a roof")

    work = start(["manage.py", "work"], settings)

    _, statuses = caller.follow(job_id, within=30)
    assert statuses[0] == "pending"
    assert len(ledger(upstream)) == 1
    # Neither a broker nor beat is missed where none is needed.
    checks = caller.get(f"{caller.address}/ready").json()["checks"]
    assert {name: checks[name] for name in ("repository", "soraClient", "worker")} == dict.fromkeys(
        ("repository", "soraClient", "worker"), "healthy"
    )
    assert not {"broker", "beat"} & set(checks)
    work.interrupt()
    assert work.ends(within=5) == 0, work.report()
    assert "Traceback" not in work.output
