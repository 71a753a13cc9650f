"""What OpenAI's SDK for Node says of Take One's `/v1/videos`. The simulator renders."""

import base64
import io
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from PIL import Image

from tests.conformance.npm import node, package
from tests.conformance.relay import Relay
from tests.conformance.trial import Trial
from tests.services import free_port

_SECONDS: Final = 120
_SCRIPT: Final = Path(__file__).with_name("calls.mjs")
NAME: Final = "openai-node"


def _called(trial: Trial, check: str, address: str = "", picture: bytes = b"") -> Any:
    """What a check saw. Fails with what the SDK says."""
    caller = trial.takeone.caller
    done = subprocess.run(
        [
            node(),
            str(_SCRIPT),
            str(package(NAME)),
            check,
            f"{address or caller.address}/v1",
            caller.headers["x-api-key"],
        ],
        env={"PICTURE": base64.b64encode(picture).decode()},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout)


def _job(video: Mapping[str, Any]) -> str:
    """The id of its job in our own API."""
    return str(UUID(hex=video["id"].removeprefix("video_")))


def deliver(trial: Trial) -> str:
    """A video is created, followed and downloaded."""
    video = _called(trial, "deliver")
    assert (video["status"], video["seconds"], video["size"]) == ("completed", "8", "1280x720"), video
    assert video["bytes"] > 500, video
    trial.paid_once("A node at dawn")
    return f"completed, an mp4 of {video['bytes']} bytes; paid once"


def listed(trial: Trial) -> str:
    """A list is walked over its pages."""
    seen = _called(trial, "list")
    assert seen["found"] == seen["made"], seen
    return f"{len(seen['made'])} videos over pages of 2, in their order"


def from_source(trial: Trial) -> str:
    """A video is remixed, edited and extended, by its id."""
    seen = _called(trial, "source")
    assert seen["remix"]["remixed_from_video_id"] == seen["source"], seen
    assert (seen["edit"]["seconds"], seen["extend"]["seconds"]) == ("4", "12"), seen
    for job in (seen["remix"], seen["edit"], seen["extend"]):
        trial.takeone.ends(_job(job), "completed")
        trial.paid_once(job["prompt"])
    return "remix, edit and extension completed; each paid once"


def picture(trial: Trial) -> str:
    """A file becomes the first frame."""
    data = io.BytesIO()
    Image.new("RGB", (1280, 720), (200, 80, 40)).save(data, "PNG")
    video = _called(trial, "picture", picture=data.getvalue())
    trial.takeone.ends(_job(video), "completed")
    (entry,) = [each for each in trial.server.entries() if each["prompt"] == video["prompt"]]
    assert entry["picture"].startswith("1280x720 "), entry
    return f"the upstream got {entry['picture']}"


def deleted(trial: Trial) -> str:
    """A deleted video is gone."""
    seen = _called(trial, "delete")
    assert seen["deleted"]["deleted"] is True, seen
    assert (seen["then"]["name"], seen["then"]["status"]) == ("NotFoundError", 404), seen
    return "deleted, then NotFoundError"


def refusals(trial: Trial) -> str:
    """Each refusal is the SDK's own error."""
    seen = _called(trial, "refusals")
    names = {what: each["name"] for what, each in seen.items()}
    wanted = {"size": "BadRequestError", "seconds": "BadRequestError", "unknown": "NotFoundError"}
    assert names == wanted | {"key": "AuthenticationError"}, seen
    assert (seen["size"]["param"], seen["seconds"]["param"]) == ("size", "seconds"), seen
    return ", ".join(sorted(set(names.values())))


def repeats(trial: Trial) -> str:
    """The answers to a create are lost twice. The SDK sends it three times."""
    port = free_port()
    relay = Relay(port, int(trial.takeone.caller.address.rpartition(":")[2]))
    try:
        relay.lose_next_answer()
        relay.lose_next_answer()
        video = _called(trial, "repeats", f"http://127.0.0.1:{port}")
        posts = relay.posts
    finally:
        relay.close()
    assert posts == 3, f"{posts} POSTs"
    trial.takeone.ends(_job(video), "completed")
    trial.paid_once(video["prompt"])
    return "3 POSTs for one create; one job, paid once"


CASES: Final[Mapping[str, Callable[[Trial], str]]] = MappingProxyType(
    {
        "deliver": deliver,
        "list": listed,
        "made from another": from_source,
        "picture": picture,
        "delete": deleted,
        "refusals": refusals,
        "repeats": repeats,
    }
)
