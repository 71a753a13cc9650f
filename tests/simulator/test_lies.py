"""What an upstream may say that is not so: its clock, its ids, its list."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest

from tests.simulator.process import Simulator, error, eventually
from tests.simulator.receiver import SECRET, Receiver


def test_a_clock_that_is_off_dates_videos_and_answers(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0", "--clock-offset", "-600")
    real = simulator.ledger
    answer = simulator.create("A heron")
    (paid,) = real()
    assert answer.json()["created_at"] == int(paid["created_at"] - 600)
    shown = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    assert -602 <= shown - paid["created_at"] <= -598
    video = simulator.finished(answer.json()["id"])
    assert video["completed_at"] - paid["created_at"] < -590
    assert video["expires_at"] - video["completed_at"] == 3600


def test_a_clock_can_be_stepped_and_earlier_videos_keep_their_date(sim: Simulator) -> None:
    before = sim.retrieve(sim.made())
    assert sim.call("POST", "/_simulator/clock", json={"offset": 3600}).json() == {"offset": 3600.0}
    later = sim.retrieve(sim.made())
    assert later["created_at"] - before["created_at"] >= 3600
    assert sim.retrieve(before["id"])["created_at"] == before["created_at"]
    sim.call("POST", "/_simulator/clock", json={"offset": 0})


@pytest.mark.parametrize("offset", [None, True, "1", 1e9])
def test_a_clock_takes_only_seconds(sim: Simulator, offset: object) -> None:
    assert error(sim.call("POST", "/_simulator/clock", json={"offset": offset}))[0] == 400


def test_an_id_can_be_given_again_and_the_ledger_knows_both(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0")
    first = simulator.made("A heron")
    simulator.finished(first)
    simulator.arm("reused_id")
    second = simulator.create("A boat").json()
    assert second["id"] == first
    assert simulator.retrieve(first)["prompt"] == "A boat"
    assert simulator.ids() == [first]
    assert [(entry["id"], entry["prompt"]) for entry in simulator.ledger()] == [
        (first, "A heron"),
        (first, "A boat"),
    ]


def test_without_an_ended_job_no_id_is_given_again(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "60")
    first = simulator.made()
    simulator.arm("reused_id")
    assert simulator.made() != first


def test_a_list_can_be_jumbled(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0")
    made = [simulator.made() for _ in range(6)]
    simulator.arm("jumbled", doubled=True)
    assert simulator.ids() == [each for each in reversed(made) for _ in range(2)]
    simulator.arm("jumbled", omitted=1)
    assert simulator.ids() == []
    simulator.arm("jumbled", shuffled=True)
    assert sorted(simulator.ids()) == sorted(made)
    simulator.arm("jumbled", bare=True)
    assert set(simulator.call("GET", "/v1/videos").json()) == {"object", "data"}
    assert simulator.ids() == list(reversed(made))


def test_a_server_that_forgets_its_jobs_counts_from_1_again(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0", "--count-ids")
    assert [simulator.made("A heron"), simulator.made("A boat")] == ["video_1", "video_2"]
    assert simulator.call("DELETE", "/_simulator/jobs").json() == {"forgotten": 2}
    assert simulator.ids() == []
    assert error(simulator.call("GET", "/v1/videos/video_2"))[0] == 404
    assert simulator.made("A kite") == "video_1"
    assert simulator.retrieve("video_1")["prompt"] == "A kite"
    assert [(entry["id"], entry["prompt"], entry["billed"]) for entry in simulator.ledger()] == [
        ("video_1", "A heron", True),
        ("video_2", "A boat", True),
        ("video_1", "A kite", True),
    ]
    assert simulator.call("DELETE", "/_simulator/jobs").json() == {"forgotten": 1}


def test_counted_ids_skip_none_and_repeat_none(start: Callable[..., Simulator]) -> None:
    simulator = start("--tiny", "--render-seconds", "0", "--count-ids")
    first, second = simulator.made(), simulator.made()
    simulator.finished(first)
    simulator.arm("reused_id")
    assert [simulator.made(), simulator.made(), simulator.made()] == [first, "video_3", "video_4"]
    simulator.call("DELETE", f"/v1/videos/{second}")
    assert simulator.made() == "video_5"


def test_no_webhook_tells_of_a_job_that_was_forgotten(
    start: Callable[..., Simulator], receiver: Receiver
) -> None:
    webhook = ("--webhook-url", receiver.url, "--webhook-secret", SECRET)
    simulator = start("--tiny", "--render-seconds", "1", *webhook)
    simulator.made()
    assert simulator.call("DELETE", "/_simulator/jobs").json() == {"forgotten": 1}
    later = simulator.made()
    eventually(lambda: receiver.of(later), "the webhook")
    assert [hook.event["data"]["id"] for hook in receiver.hooks] == [later]
