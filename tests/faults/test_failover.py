"""Two upstreams, one of which goes away: every job is rendered, once, at one of them."""

from collections import Counter
from collections.abc import Iterator

import pytest
import requests

from tests.e2e.processes import eventually, run
from tests.faults.books import is_quiet, judge, ledger, ledger_of
from tests.faults.stack import SIMULATOR, Stack, running
from tests.servers import Absent
from tests.timeouts import TIMEOUT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

_JOBS = 20


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("failover")
    settings = {"SORA_CONCURRENCY": "3", "SORA_BREAKER_FAILURES": "2"}
    try:
        with running(folder, settings, simulator=["--render-seconds", "1"], two_upstreams=True) as stack:
            yield stack
    except Absent as error:
        pytest.skip(str(error))


def checks(stack: Stack) -> dict[str, str]:
    answer = requests.get(f"{stack.settings['TAKEONE_URL']}/ready", timeout=TIMEOUT)
    return dict(answer.json()["checks"])


def test_twenty_jobs_outlast_the_loss_of_the_preferred_upstream(stack: Stack) -> None:
    jobs = [stack.caller.ask_for(f"Boat {number}") for number in range(_JOBS)]
    eventually(lambda: len(ledger(stack)) >= 4, "some renders", within=30)
    stack.parts[SIMULATOR].kill()
    # What it has is waited for; all others are rendered by the second one.
    kept = set(_prompts_at(stack, "stand-in"))
    eventually(lambda: _completed(stack) >= _JOBS - len(kept) - 3, "the others", within=90)
    eventually(
        lambda: checks(stack)["soraClient:stand-in"] != "healthy", "the lost one named alone", within=20
    )
    assert (checks(stack)["soraClient"], checks(stack)["soraClient:second"]) == ("healthy", "healthy")
    stack.start(SIMULATOR)
    eventually(stack.is_up, "it is back", within=30)
    eventually(lambda: is_quiet(stack), "all work ended", within=120)
    assert judge(stack, jobs).faults() == {}
    paid = Counter(entry["prompt"] for entry in ledger(stack))
    assert paid == Counter(f"Boat {number}" for number in range(_JOBS)), "each is paid once"
    assert all(ledger_of(control) for control in stack.controls), "both have rendered"
    assert _completed(stack) == _JOBS


@pytest.mark.nightly
def test_twenty_jobs_outlast_a_switch_of_the_upstream(stack: Stack) -> None:
    jobs = [stack.caller.ask_for(f"Kite {number}") for number in range(_JOBS)]
    eventually(lambda: len(ledger(stack)) >= 4, "some renders", within=30)
    run(["manage.py", "stop_provider", "stand-in", "--reason", "we move"], stack.settings)
    before = len(ledger_of(stack.control))
    eventually(lambda: is_quiet(stack), "all work ended", within=120)
    assert judge(stack, jobs).faults() == {}
    assert Counter(entry["prompt"] for entry in ledger(stack)) == Counter(
        f"Kite {number}" for number in range(_JOBS)
    )
    # What was being sent in that moment may still have come.
    assert len(ledger_of(stack.control)) <= before + 3
    assert _completed(stack) == _JOBS


def _completed(stack: Stack) -> int:
    return int(stack.ask("SELECT count(*) FROM videos_job WHERE status = 'completed'")[0][0])


def _prompts_at(stack: Stack, name: str) -> list[str]:
    query = (
        "SELECT request->>'prompt' FROM videos_submission s JOIN upstreams_provider p ON p.id = s.provider_id"
        " WHERE p.name = %s AND s.state = ANY(%s)"
    )
    live = ["sending", "unknown", "rendering", "rendered"]
    return [str(prompt) for (prompt,) in stack.ask(query, name, live)]
