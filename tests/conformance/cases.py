"""What each server is tried with. A case says what it saw, or fails; it judges by the server's own books."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from tests.conformance.from_source import from_source
from tests.conformance.pictures import picture
from tests.conformance.servers import FAULT
from tests.conformance.trial import Trial
from tests.e2e.processes import eventually
from upstreams.client.dialects import DIALECTS

# For each dialect, what a server with no such model, or no picture, says.
REFUSALS: Final = {
    "litellm": "Invalid model name",
    # The words of aimock.
    "openrouter": "No fixture matched",
    "sglang": "requires an",
    "vllm-omni": "Model mismatch",
}
_SETTLED_SECONDS: Final = 8
# The exit status of `manage.py audit` if the list proves nothing.
_PROVES_NOTHING: Final = 2


def deliver(trial: Trial) -> str:
    """A job is created, followed, and its file fetched."""
    job = trial.ask("A paper boat on a river")
    trial.takeone.caller.follow(job, within=60)
    frames = trial.takeone.frames(job)
    trial.paid_once("A paper boat on a river")
    return f"a playable mp4 of {frames} frames; paid once"


def refused(trial: Trial) -> str:
    """The server itself refuses a create. Its words reach the caller, and nothing is undecided."""
    with trial.refusing() as other:
        before = other.relay.posts
        job = other.caller.ask_for("A kite over a field")
        error = other.ends(job, "failed", within=30)["error"]
        words = REFUSALS[trial.server.dialect]
        assert words in str(error), f"not the server's words: {error}"
        assert other.relay.posts == before + 1, f"{other.relay.posts - before} creates were sent"
        assert other.server.paid("A kite over a field") == 0, "it was paid"
        assert not other.undecided("A kite over a field")[0], "it is undecided"
    return f"{error['code']}: {_words(error, words)}; 1 POST, paid 0 times"


def failed(trial: Trial) -> str:
    """A render fails at the server. Its words reach the caller."""
    prompt = trial.server.failing("A snail on a leaf")
    job = trial.ask(prompt)
    error = trial.takeone.ends(job, "failed")["error"]
    assert FAULT in str(error), f"not the server's words: {error}"
    assert trial.server.paid(prompt) == 1, f"{trial.server.paid(prompt)} creates"
    return f"{error['code']}: {_words(error, FAULT)}; 1 create"


def cancel(trial: Trial) -> str:
    """A running render is cancelled. What Take One says must be what the server then does."""
    prompt = "A slow train"
    job = trial.ask(prompt)
    trial.takeone.wait(job, lambda it: it["status"] == "processing", "the job is processing")
    said = trial.takeone.cancel(job)
    stops = "is being stopped" in said
    runs_on = "runs on there" in said
    assert stops or runs_on, said
    wanted = {"stopped"} if stops else {"rendered", "completed"}
    eventually(lambda: trial.server.fate(prompt) in wanted, f"the render is {wanted}", within=30, every=0.3)
    assert trial.takeone.caller.job(job)["status"] == "cancelled"
    trial.paid_once(prompt)
    return "the render is stopped, as the answer says" if stops else "the render runs on, as the answer says"


def lost_answer(trial: Trial) -> str:
    """The answer to a create is lost. The render is found on the list, or left to a person."""
    # In each form of a body these must arrive as they are, or the list shows another prompt.
    prompt = 'A "lantern" in 雾; 100% calm'
    trial.takeone.relay.lose_next_answer()
    job = trial.ask(prompt)
    if trial.knows_prompts:
        trial.takeone.caller.follow(job, within=60)
        trial.paid_once(prompt)
        return "found on the list by its prompt and followed; paid once"
    trial.takeone.wait(job, lambda it: it.get("stage") == "unknown", "its outcome is unknown")
    found: list[Any] = []

    def listed() -> bool:
        found[:] = trial.takeone.undecided(prompt)
        return bool(found[0])

    eventually(listed, "it is left to a person", within=60, every=1)
    # Long enough for a second create, if one were sent.
    time.sleep(_SETTLED_SECONDS)
    trial.paid_once(prompt)
    submission, videos = found
    if not videos:
        trial.takeone.command("declare_lost", submission)
        trial.takeone.ends(job, "failed")
        return "left to a person, who has no list to look at and declares it lost; paid once"
    trial.takeone.command("adopt", submission, videos[0], "--force")
    trial.takeone.caller.follow(job, within=60)
    trial.paid_once(prompt)
    return f"left to a person, who is shown {len(videos)} video and adopts it; delivered, paid once"


def audit(trial: Trial) -> str:
    """The list and our books agree after all of this."""
    code, text = trial.takeone.audit()
    if not DIALECTS[trial.server.dialect].lists:
        assert code == _PROVES_NOTHING, f"exit status {code}: {text}"
        return "there is no list to compare with"
    assert code == 0, f"exit status {code}: {text}"
    return text.splitlines()[-1]


def restart(trial: Trial) -> str:
    """The server is killed in the middle of two renders."""
    prompts = ["A slow tide", "A slow cloud"]
    jobs = [trial.ask(prompt) for prompt in prompts]
    for job in jobs:
        trial.takeone.wait(job, lambda it: it["status"] == "processing", "the job is processing")
    trial.server.restart()
    if not trial.forgets:
        for job, prompt in zip(jobs, prompts, strict=True):
            trial.takeone.ends(job, "completed")
            trial.paid_once(prompt)
        return "both renders were followed on and delivered; paid once"
    blocked = "is not the upstream that we know"
    program = trial.takeone.program
    eventually(lambda: blocked in program.output, "Take One notices", within=60, every=0.3)
    time.sleep(_SETTLED_SECONDS)
    states = {trial.takeone.caller.job(job)["status"] for job in jobs}
    assert states == {"processing"}, f"without a person they are {states}"
    trial.takeone.command("resume_provider", "--accept-losses")
    errors = {trial.takeone.ends(job, "failed")["error"]["code"] for job in jobs}
    assert errors == {"upstream_lost"}, f"they failed as {errors}"
    for prompt in prompts:
        trial.paid_once(prompt)
    again = trial.ask("A boat after the storm")
    trial.takeone.caller.follow(again, within=60)
    return (
        "sending stopped until a person accepted the losses; then upstream_lost, paid once, and work went on"
    )


def books(trial: Trial) -> str:
    """At the end, no prompt of the whole run was paid twice."""
    twice = trial.server.paid_twice()
    assert not twice, f"paid twice: {twice}"
    return f"{len(trial.server.entries())} creates, none paid twice"


def _words(error: Mapping[str, Any], words: str) -> str:
    text = str(error.get("details") or "") if words not in str(error["message"]) else str(error["message"])
    return text.replace("\n", " ")[:160]


Case = Callable[[Trial], str]
CASES: Final[Mapping[str, Case]] = MappingProxyType(
    {
        "deliver": deliver,
        "picture": picture,
        "made from another": from_source,
        "refused": refused,
        "failed render": failed,
        "cancel": cancel,
        "lost answer": lost_answer,
        "audit": audit,
        "restart": restart,
        "books": books,
    }
)
