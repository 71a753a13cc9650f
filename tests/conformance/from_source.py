"""Videos that are made from another one: what a server makes of a remix, an edit and an extension."""

from typing import Final

import requests

from tests.conformance.trial import Trial
from tests.timeouts import TIMEOUT
from upstreams.client.dialects import DIALECTS
from upstreams.client.types import OPERATIONS

_PROMPT: Final = "A stone bridge"


def from_source(trial: Trial) -> str:
    """What the dialect has is delivered and paid once. The others are refused here, and nothing is sent."""
    caller = trial.takeone.caller
    source = trial.ask(_PROMPT)
    caller.follow(source, within=60)
    offered = DIALECTS[trial.server.dialect].routes
    before = trial.takeone.relay.posts
    said = []
    for operation in OPERATIONS:
        prompt = f"{_PROMPT}, {operation}"
        if operation in offered:
            job = caller.ask_at(f"/{source}/{operation}", prompt)
            shown, _ = caller.follow(job, within=60)
            trial.paid_once(prompt)
            said.append(f"{operation}: an mp4 of {shown['result']['duration']:g} s")
        else:
            address = f"{caller.address}/api/v1/videos/{source}/{operation}"
            answer = requests.post(address, json={"prompt": prompt}, headers=caller.headers, timeout=TIMEOUT)
            code = answer.json()["error"]["code"]
            assert (answer.status_code, code) == (409, "operation_not_offered"), answer.text
    sent = trial.takeone.relay.posts - before
    assert sent == len(offered), f"{sent} creates were sent"
    return f"{', '.join(said)}; each paid once" if said else "not offered, and nothing is sent"


def refused_by_model(trial: Trial) -> str:
    """A model that takes no video refuses it. Its words reach the caller, and nothing is paid."""
    words = "does not support previous_job_id"
    source = trial.ask(_PROMPT)
    trial.takeone.caller.follow(source, within=60)
    job = trial.takeone.caller.ask_at(f"/{source}/extend", f"{_PROMPT}, longer")
    error = trial.takeone.ends(job, "failed", within=30)["error"]
    assert words in str(error), f"not the server's words: {error}"
    assert trial.server.paid(f"{_PROMPT}, longer") == 0, "it was paid"
    return f'refused as "{words}", paid 0 times'
