"""Anything that callers, operators, the upstream, crashes and clocks can do, in any order, and the ledger."""

import os
import random

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as examples
from hypothesis.stateful import run_state_machine_as_test
from pytest_django import Settings

from tests.faults.machine import CHOICES, STEPS, Service, names
from tests.faults.machine_ledger import TERMS

pytestmark = pytest.mark.django_db(transaction=True)

_THOROUGH = os.environ.get("FAULT_EXAMPLES")
_WALKS = int(os.environ.get("FAULT_WALKS", "4"))
_OFTEN = {"work": 5, "time_passes": 4, "a_render_goes_on": 3} | dict.fromkeys(
    [
        "send",
        "send_and_hear_nothing",
        "send_and_hear_late",
        "be_held_up_before_the_post",
        "work_and_crash",
        "work_beside_others",
    ],
    3,
)


@pytest.fixture(autouse=True)
def _small_windows(settings: Settings) -> None:
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]
    settings.SORA_CLOCK_SKEW = 1
    # Longer than the pause between two attempts at what was given up.
    settings.JOB_GIVE_UP_AFTER = 5_000
    settings.RATE_LIMIT_CREATES_PER_MINUTE = 0


@pytest.mark.parametrize("upstream", sorted(TERMS))
def test_no_order_of_events_pays_twice_or_loses_a_job(upstream: str, settings: Settings) -> None:
    """FAULT_EXAMPLES sets how many runs there are; by hand and nightly there are more."""
    run_state_machine_as_test(
        lambda: Service(TERMS[upstream]),  # type: ignore[arg-type]
        settings=examples(
            max_examples=int(_THOROUGH or 2),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # A failure is made small only where there is time for it.
            phases=[Phase.generate, *([Phase.shrink] if _THOROUGH else [])],
        ),
    )


@pytest.mark.parametrize("seed", range(_WALKS))
def test_no_long_walk_pays_twice_or_loses_a_job(seed: int, settings: Settings) -> None:
    """Hypothesis prefers short runs; these are long ones. FAULT_WALKS sets how many there are."""
    terms = list(TERMS.values())[seed % len(TERMS)]
    # What waits at random draws from the same.
    random.seed(seed)
    steps = [step for step in STEPS for _ in range(_OFTEN.get(step.__name__, 1))]
    machine = Service(terms)
    try:
        machine.begin()
        for _ in range(80):
            step = random.choice(steps)
            step(machine, **{name: random.choice(CHOICES[name]) for name in names(step)})
    finally:
        machine.teardown()
