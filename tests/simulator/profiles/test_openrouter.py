"""What only OpenRouter does: its job, its money, its callbacks, its catalogue."""

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

from simulator.profiles.openrouter_models import price
from tests.simulator.process import Simulator, eventually
from tests.simulator.receiver import Receiver

MODEL = "simulator/seconds"
PICTURE = "data:image/png;base64,AA=="
Start = Callable[..., Simulator]


@pytest.fixture
def router(start: Start) -> Simulator:
    return start("--profile", "openrouter", "--tiny", "--render-seconds", "0.3")


def create(router: Simulator, **changes: Any) -> requests.Response:
    asked = {"prompt": "A boat", "model": MODEL, "duration": 4, "size": "1280x720"} | changes
    return router.call("POST", "/v1/videos", json={k: v for k, v in asked.items() if v is not None})


def job(router: Simulator, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = router.call("GET", f"/v1/videos/{job_id}").json()
    return found


def completed(router: Simulator, job_id: str) -> dict[str, Any]:
    eventually(lambda: job(router, job_id)["status"] == "completed", "it is completed")
    return job(router, job_id)


def test_a_job_goes_from_pending_to_completed_and_shows_little(router: Simulator) -> None:
    answer = create(router)
    assert answer.status_code == 202
    made = answer.json()
    assert re.fullmatch(r"gen-vid-\d{10}-[0-9A-Za-z]{20}", made["id"])
    polling = f"{router.url}/videos/{made['id']}"
    assert made == {"id": made["id"], "polling_url": polling, "status": "pending"}
    states = []

    def ended() -> bool:
        states.append(job(router, made["id"])["status"])
        return states[-1] not in ("pending", "in_progress")

    eventually(ended, "it has ended")
    assert set(states) == {"pending", "completed"}
    assert job(router, made["id"]) == made | {
        "status": "completed",
        "generation_id": made["id"],
        "unsigned_urls": [f"{polling}/content?index=0"],
        "usage": {"cost": 0.12, "is_byok": False},
    }


def test_what_it_charges_is_in_the_ledger_and_at_the_key(router: Simulator) -> None:
    completed(router, create(router).json()["id"])
    completed(router, create(router, size="1920x1080", duration=8).json()["id"])
    assert [entry["price"] for entry in router.ledger()] == ["0.12", "0.40"]
    assert router.call("GET", "/v1/key").json()["data"]["usage"] == pytest.approx(0.52)
    assert requests.get(router.url + "/key", timeout=10).status_code == 401


def test_each_unit_of_a_price_is_counted() -> None:
    assert float(price("simulator/tokens", "640x640", 4)) == pytest.approx(0.1344)
    assert float(price("simulator/cents", "1280x720", 4)) == pytest.approx(0.20)
    assert float(price("simulator/cents", "1920x1080", 4)) == pytest.approx(0.32)


def test_the_catalogue_needs_no_key_and_tells_null_from_empty(router: Simulator) -> None:
    models = requests.get(router.url + "/videos/models", timeout=10).json()["data"]
    by_name = {model["id"]: model for model in models}
    assert by_name["simulator/tokens"]["supported_sizes"] is None
    assert by_name["simulator/cents"]["supported_durations"] is None
    assert by_name[MODEL]["pricing_skus"]["duration_seconds"] == "0.03"


def frame(kind: str = "first_frame", url: str = PICTURE) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, "frame_type": kind}


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"duration": 99}, 400, "Duration 99s is not supported for this model. Supported durations: 4, 8,"),
        ({"resolution": "4K", "size": None}, 400, "Resolution 4K is not supported for this model."),
        ({"size": "64x64"}, 400, "Size 64x64 is not supported"),
        ({"prompt": None}, 400, "require a prompt when no image input is provided"),
        ({"model": "nobody/none"}, 404, "nobody/none is not a valid model ID"),
        ({"callback_url": "http://example.com/x"}, 400, "callback_url must be an HTTPS URL"),
        ({"previous_job_id": "gen-vid-1-x"}, 400, "does not support previous_job_id"),
        (
            {"frame_images": [frame(url="http://x.com/a.png")]},
            400,
            "frame_images[0].image_url.url: Only HTTPS",
        ),
        (
            {"frame_images": [frame()], "model": "simulator/cents"},
            400,
            "Frame image first_frame is not supported for this model.",
        ),
    ],
)
def test_a_refusal_has_its_envelope_and_makes_no_job(
    router: Simulator, changes: dict[str, Any], status: int, words: str
) -> None:
    answer = create(router, **changes)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, status)
    assert words in error["message"]
    assert router.ledger() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"model": None},
        {"duration": "4"},
        {"seconds": "4"},
        {"duration": 0},
        {"frame_images": [{"type": "image_url", "image_url": "https://x"}]},
        {"frame_images": [{"type": "image_url", "image_url": {}}]},
        {"frame_images": [frame("middle_frame")]},
        {"frame_images": [{"type": "video_url", "video_url": {"url": PICTURE}, "frame_type": "first_frame"}]},
    ],
)
def test_its_schema_refuses_in_another_form(router: Simulator, changes: dict[str, Any]) -> None:
    answer = create(router, **changes)
    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert answer.json()["error"]["name"] == "ZodError"
    assert router.ledger() == []


def test_it_takes_a_first_and_a_last_frame(router: Simulator) -> None:
    frames = [frame(), frame("last_frame", "https://example.com/last.png")]
    assert create(router, frame_images=frames, prompt=None).status_code == 202


def test_it_takes_no_form(router: Simulator) -> None:
    answer = router.call("POST", "/v1/videos", files={"prompt": (None, "A"), "model": (None, MODEL)})
    assert answer.json()["error"]["name"] == "ZodError"


def test_both_kinds_of_402_tell_themselves_apart(router: Simulator) -> None:
    router.arm("error", status=402, message="Insufficient credits.")
    assert create(router).json()["error"]["metadata"] == {"limit_source": "openrouter_credits"}
    router.arm("error", status=402, code="in_flight_budget_exhausted", retry_after=3)
    held = create(router)
    assert held.json()["error"]["metadata"]["reason"] == "in_flight_budget_exhausted"
    assert held.headers["Retry-After"] == "3"


def test_content_has_no_length_and_ignores_a_range(router: Simulator) -> None:
    made = create(router).json()["id"]
    early = router.call("GET", f"/v1/videos/{made}/content")
    assert (early.status_code, early.json()["error"]["code"]) == (409, 409)
    completed(router, made)
    path = f"/v1/videos/{made}/content?index=0"
    whole = router.call("GET", path, headers={"Range": "bytes=0-9"})
    assert whole.status_code == 200
    assert "Content-Length" not in whole.headers
    assert whole.headers["Transfer-Encoding"] == "chunked"
    assert len(whole.content) > 10
    assert requests.get(router.url.removesuffix("/v1") + path, timeout=10).status_code == 401
    beyond = router.call("GET", f"/v1/videos/{made}/content?index=5")
    assert beyond.json()["error"]["message"] == "Video index 5 out of range (1 videos available)"


def test_expired_content_is_gone(start: Start) -> None:
    router = start("--profile", "openrouter", "--tiny", "--render-seconds", "0", "--expires-seconds", "0")
    made = create(router).json()["id"]
    assert router.call("GET", f"/v1/videos/{made}/content").status_code == 410


def test_it_has_no_list_and_no_delete(router: Simulator) -> None:
    made = create(router).json()["id"]
    assert router.call("GET", "/v1/videos").status_code == 404
    assert router.call("DELETE", f"/v1/videos/{made}").status_code == 404
    assert job(router, made)["id"] == made


@pytest.mark.parametrize(
    ("fault", "status"), [("failed", "failed"), ("expired", "expired"), ("cancelled", "cancelled")]
)
def test_every_end_is_called_back_with_its_reason(
    router: Simulator, receiver: Receiver, fault: str, status: str
) -> None:
    router.arm(fault)
    made = create(router, callback_url=receiver.url).json()["id"]
    (hook,) = eventually(lambda: receiver.of(made), "the callback")
    event = hook.event
    assert event["type"] == f"video.generation.{status}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["created_at"])
    assert event["data"]["status"] == status
    assert isinstance(event["data"]["error"], str)
    assert hook.headers["x-openrouter-idempotency-key"] == f"{made}-{status}"
    # Nothing is signed without a secret.
    assert "x-openrouter-signature" not in hook.headers


def test_a_callback_is_signed_with_the_secret_and_goes_where_the_create_says(
    start: Start, receiver: Receiver
) -> None:
    options = ("--webhook-url", "http://127.0.0.1:9/default", "--webhook-secret", "whsec_plain")
    router = start("--profile", "openrouter", "--tiny", "--render-seconds", "0", *options)
    made = create(router, callback_url=receiver.url).json()["id"]
    (hook,) = eventually(lambda: receiver.of(made), "the callback")
    data = hook.event["data"]
    assert data["unsigned_urls"] == [f"{router.url}/videos/{made}/content?index=0"]
    assert (data["usage"]["cost"], data["model"], data["generation_id"]) == (0.12, MODEL, made)
    stamp, _, signature = hook.headers["x-openrouter-signature"].partition(",v1=")
    signed = stamp.removeprefix("t=").encode() + b"," + hook.body
    assert signature == hmac.new(b"whsec_plain", signed, hashlib.sha256).hexdigest()
