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


def test_videos_are_made_from_another_one_and_each_is_paid_once(
    start: Callable[..., Program],
    start_simulator: Callable[..., tuple[Program, str]],
    start_web: Callable[..., tuple[Program, Caller]],
    tmp_path: Path,
) -> None:
    _, upstream = start_simulator()
    settings = {"TAKEONE_VAR": str(tmp_path / "var"), "SORA_BASE_URL": upstream}
    settings |= {"SORA_PROVIDER": "rented", "SORA_API_KEY": "a-key", "SORA_SYNC_SECONDS_MIN": "1"}
    _, caller = start_web(settings)
    work = start(["manage.py", "work"], settings)
    source = caller.ask_for("A cat on a roof", duration=4)
    caller.follow(source, within=30)

    made = {
        "remix": caller.ask_at(f"/{source}/remix", "A cat on a boat"),
        "edit": caller.ask_at(f"/{source}/edit", "The cat is red"),
        "extend": caller.ask_at(f"/{source}/extend", "The cat jumps down", duration=8),
    }
    jobs = {operation: caller.follow(job_id, within=30)[0] for operation, job_id in made.items()}

    assert all(job["operation"] == operation for operation, job in jobs.items())
    assert {job["sourceJobId"] for job in jobs.values()} == {source}
    # The file of an extension is the whole video, and fits what was sent.
    assert [round(jobs[operation]["result"]["duration"]) for operation in made] == [4, 4, 12]
    assert all(job["result"]["differences"] == [] for job in jobs.values())
    assert sorted(entry["operation"] for entry in ledger(upstream)) == ["create", "edit", "extend", "remix"]
    work.interrupt()
    assert work.ends(within=5) == 0, work.report()
    assert "Traceback" not in work.output
