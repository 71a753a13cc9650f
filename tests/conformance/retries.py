"""What LiteLLM does behind our one POST if its upstream answers with an error after it has begun a render."""

from tests.conformance.litellm_proxy import LiteLLM
from tests.conformance.takeone import TakeOne
from tests.conformance.trial import Trial


def retries(trial: Trial) -> str:
    """One create each with LiteLLM's own setting, and with `num_retries: 0` in both places."""
    proxy = trial.server
    assert isinstance(proxy, LiteLLM)
    once, posts = _paid(proxy, trial.takeone, "A moth, no retries")
    eager = LiteLLM(
        name=proxy.name,
        dialect=proxy.dialect,
        model=proxy.model,
        folder=trial.folder,
        simulator=proxy.simulator,
        retries=True,
    )
    other = TakeOne(eager, trial.folder / "takeone-retries")
    try:
        eager.start()
        other.start()
        often, more_posts = _paid(eager, other, "A moth, default retries")
    finally:
        other.stop()
        eager.stop()
    assert posts == more_posts == 1, f"{posts} and {more_posts} POSTs of ours"
    assert once == 1, f"with num_retries: 0 it was paid {once} times"
    return f"one POST of ours is paid {often} times by LiteLLM's default, once with num_retries: 0"


def _paid(proxy: LiteLLM, takeone: TakeOne, prompt: str) -> tuple[int, int]:
    """How often a create is paid whose answer is a 500, and how many POSTs of ours it was."""
    before = takeone.relay.posts
    proxy.simulator.arm(operation="create", fault="created_then_500", times=None)
    try:
        job = takeone.caller.ask_for(prompt)
        takeone.wait(job, lambda it: it.get("stage") == "unknown", "its outcome is unknown")
    finally:
        proxy.simulator.disarm()
    return proxy.paid(prompt), takeone.relay.posts - before
