"""What Take One is tried with against aimock."""

from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import Final

from tests.conformance import cases
from tests.conformance.aimock.server import BUSY, COST, MODEL
from tests.conformance.cases import Case
from tests.conformance.takeone import TakeOne
from tests.conformance.trial import Trial
from tests.e2e.processes import eventually

_FILE: Final = """
default_model = "{model}"

[[upstreams]]
name = "mock"
dialect = "openrouter"
base_url = "{url}"
api_key_env = "MOCK_KEY"
"""


def charged(trial: Trial) -> str:
    """What it says that a video has cost is what is settled."""
    job = trial.ask("A boat for sale")
    trial.takeone.caller.follow(job, within=60)
    cost = trial.takeone.caller.job(job)["cost"]
    assert float(cost["settled"]) == COST, cost
    return f"${cost['settled']} settled, as usage.cost says"


def busy(trial: Trial) -> str:
    """A create is refused with 429 once, and sent again."""
    prompt = f"A {BUSY} harbour"
    before = trial.takeone.relay.posts
    job = trial.ask(prompt)
    trial.takeone.caller.follow(job, within=60)
    trial.paid_once(prompt)
    posts = trial.takeone.relay.posts - before
    assert posts == 2, f"{posts} creates were sent"
    return "a 429 was waited for; 2 POSTs, paid once"


def catalogue(trial: Trial) -> str:
    """A file of upstreams leaves out the models: those of its catalogue are offered and rendered."""
    prompt = "A boat of the catalogue"
    with ExitStack() as stack:
        other = TakeOne(trial.server, trial.folder / "catalogue", upstreams=_FILE.replace("{model}", MODEL))
        stack.callback(other.stop)
        other.start()
        address = f"{other.caller.address}/api/v1/models"
        # It is read by a worker, not before the service is up.
        models = eventually(
            lambda: other.caller.get(address).json()["data"]["models"], "the catalogue", within=60, every=0.5
        )
        job = other.caller.ask_for(prompt)
        other.caller.follow(job, within=60)
        shown = other.caller.job(job)["submitted"]
    trial.paid_once(prompt)
    return f"{len(models)} model; {shown['model']} of {shown['size']} and {shown['seconds']} s delivered"


CASES: Final[Mapping[str, Case]] = MappingProxyType(
    {
        "deliver": cases.deliver,
        "charged": charged,
        "refused": cases.refused,
        "failed render": cases.failed,
        "busy": busy,
        "catalogue": catalogue,
        "lost answer": cases.lost_answer,
        "audit": cases.audit,
        "books": cases.books,
    }
)
