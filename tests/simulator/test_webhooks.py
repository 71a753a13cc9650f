"""Webhooks are signed as upstream signs them, repeated until they are taken, and go wrong on demand."""

import time
from collections.abc import Callable

import openai
import pytest

from tests.simulator.process import Simulator, error, eventually
from tests.simulator.receiver import SECRET, Hook, Receiver


def verify(hook: Hook, secret: str = SECRET) -> None:
    with openai.OpenAI(api_key="k", webhook_secret=secret) as client:
        client.webhooks.verify_signature(hook.body, hook.headers)


def listen(sim: Simulator, receiver: Receiver, secret: str = SECRET) -> None:
    settings = {"url": receiver.url, "secret": secret, "retry_seconds": 0.05}
    assert sim.call("POST", "/_simulator/webhook", json=settings).status_code == 200


@pytest.mark.parametrize("secret", [SECRET, "plain text"])
def test_a_completed_job_is_told_with_a_signature_that_the_sdk_verifies(
    sim: Simulator, receiver: Receiver, secret: str
) -> None:
    listen(sim, receiver, secret)
    video_id = sim.made()
    (hook,) = eventually(lambda: receiver.of(video_id), "the webhook")
    verify(hook, secret)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        verify(hook, "another secret")
    event = hook.event
    assert event["id"].startswith("evt_")
    assert (event["object"], event["type"], event["data"]) == ("event", "video.completed", {"id": video_id})
    assert event["created_at"] == pytest.approx(time.time(), abs=5)
    assert hook.id.startswith("wh_")
    assert hook.headers["user-agent"] == "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"
    assert hook.headers["content-type"] == "application/json"


def test_a_failed_job_is_told_and_a_cancelled_one_is_not(sim: Simulator, receiver: Receiver) -> None:
    listen(sim, receiver)
    sim.arm("cancelled")
    cancelled = sim.made()
    sim.arm("failed")
    failed = sim.made()
    (hook,) = eventually(lambda: receiver.of(failed), "the webhook")
    assert hook.event["type"] == "video.failed"
    assert receiver.of(cancelled) == []


def test_a_webhook_is_repeated_under_its_id_until_it_is_taken(sim: Simulator, receiver: Receiver) -> None:
    listen(sim, receiver)
    # A redirect is a failure, and not followed.
    receiver.answers = [500, 307, 404]
    video_id = sim.made()
    eventually(lambda: len(receiver.of(video_id)) == 4, "four deliveries")
    hooks = receiver.of(video_id)
    assert len({hook.id for hook in hooks}) == 1
    assert len({hook.body for hook in hooks}) == 1
    assert {hook.path for hook in hooks} == {"/hooks"}
    for hook in hooks:
        verify(hook)


def test_a_webhook_not_yet_taken_survives_a_kill(start: Callable[..., Simulator], receiver: Receiver) -> None:
    options = ("--tiny", "--render-seconds", "0", "--webhook-url", receiver.url, "--webhook-secret", SECRET)
    receiver.answers = [500] * 3
    simulator = start(*options, "--webhook-retry-seconds", "0.1")
    video_id = simulator.made()
    eventually(lambda: receiver.of(video_id), "the first delivery")
    simulator.kill()
    before = len(receiver.of(video_id))
    start(*options, "--webhook-retry-seconds", "0.1")
    eventually(lambda: len(receiver.of(video_id)) >= max(4, before + 1), "the deliveries after the start")
    assert len({hook.id for hook in receiver.of(video_id)}) == 1


def test_a_job_that_ended_while_nobody_listened_is_not_told_later(sim: Simulator, receiver: Receiver) -> None:
    early = sim.made()
    assert sim.retrieve(early)["status"] == "completed"
    marker = sim.made()
    sim.call("DELETE", f"/v1/videos/{marker}")
    listen(sim, receiver)
    later = sim.made()
    eventually(lambda: receiver.of(later), "the webhook")
    assert receiver.of(early) == []


def test_a_webhook_can_come_twice_under_one_id(sim: Simulator, receiver: Receiver) -> None:
    listen(sim, receiver)
    sim.arm("doubled")
    video_id = sim.made()
    eventually(lambda: len(receiver.of(video_id)) == 2, "both")
    first, second = receiver.of(video_id)
    assert (first.id, first.body) == (second.id, second.body)


def test_a_webhook_can_come_before_the_answer_of_its_create(
    start: Callable[..., Simulator], receiver: Receiver
) -> None:
    simulator = start("--tiny", "--render-seconds", "0.2")
    listen(simulator, receiver)
    simulator.arm("webhook_early")
    answer = simulator.create().json()
    assert answer["status"] == "queued"
    assert len(receiver.of(answer["id"])) == 1
    assert simulator.retrieve(answer["id"])["status"] == "completed"


def test_a_webhook_can_be_lost_or_badly_signed(sim: Simulator, receiver: Receiver) -> None:
    listen(sim, receiver)
    sim.arm("lost")
    lost = sim.made()
    eventually(lambda: not sim.call("GET", "/_simulator/faults").json()["data"], "the loss")
    sim.arm("bad_signature")
    forged = sim.made()
    (hook,) = eventually(lambda: receiver.of(forged), "the forged webhook")
    with pytest.raises(openai.InvalidWebhookSignatureError):
        verify(hook)
    assert receiver.of(lost) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"url": "ftp://here", "secret": SECRET},
        {"url": "http://here"},
        {"url": "http://here", "secret": "whsec_?"},
        {"url": "http://here", "secret": SECRET, "retry_seconds": "soon"},
    ],
)
def test_a_webhook_that_cannot_work_is_refused(sim: Simulator, asked: dict[str, str]) -> None:
    assert error(sim.call("POST", "/_simulator/webhook", json=asked))[0] == 400
