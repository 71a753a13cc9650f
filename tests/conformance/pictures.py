"""A video that begins with a picture: what arrives at the server's own code, or what it refuses it with."""

import io
from typing import Final

import requests
from PIL import Image

from tests.conformance.takeone import TakeOne
from tests.conformance.trial import Trial
from tests.timeouts import TIMEOUT

# Square, so that it fits the video only if it is cut.
_SIDE: Final = 160
_COLOUR: Final = (200, 80, 40)
_SHAPE: Final = {"resolution": "720p", "aspectRatio": "9:16"}
_SIZE: Final = "720x1280"
# What a server, or a model of it, says that takes no such picture. vLLM-Omni leaves that to its engine.
REFUSALS: Final = {
    "litellm": "Inpaint image must match the requested width and height",
    "sglang": "input_reference is not supported for T2V models",
}


def picture(trial: Trial) -> str:
    """A picture is uploaded and asked for in the size of the video. The server must get it in that size."""
    prompt = "A heron wakes"
    with trial.taking_pictures() as takeone:
        kept = uploaded(takeone)
        job = takeone.caller.ask_for(prompt, inputReference=kept, imageFit="crop", **_SHAPE)
        takeone.caller.follow(job, within=60)
        frames = takeone.frames(job)
        (entry,) = [each for each in takeone.server.entries() if each["prompt"] == prompt]
        found = f"the server got {entry['picture']} for a video of {entry['size']}"
        assert entry["picture"] == f"{_SIZE} {bytes(_COLOUR).hex()}", found
        assert entry["size"] == _SIZE, found
        assert takeone.server.paid_twice() == []
    said = f"arrives in the size of the video; an mp4 of {frames} frames; paid once"
    return f"{said}; {refused}" if (refused := _refused(trial)) else said


def _refused(trial: Trial) -> str:
    """What a caller reads if the server refuses the picture; "" if this server's routes refuse none."""
    words = REFUSALS.get(trial.server.dialect)
    if words is None:
        return ""
    prompt = "A heron sleeps"
    job = trial.takeone.caller.ask_for(prompt, inputReference=uploaded(trial.takeone), **_SHAPE)
    error = trial.takeone.ends(job, "failed", within=30)["error"]
    assert words in str(error), f"not the server's words: {error}"
    assert trial.server.paid(prompt) == 0, "it was paid"
    return f'refused as "{words}", paid 0 times'


def uploaded(takeone: TakeOne) -> str:
    """The id of a square picture that was uploaded."""
    data = io.BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), _COLOUR).save(data, "PNG")
    answer = requests.post(
        f"{takeone.caller.address}/api/v1/images",
        data=data.getvalue(),
        headers=takeone.caller.headers | {"Content-Type": "image/png"},
        timeout=TIMEOUT,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["id"])
