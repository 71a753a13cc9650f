"""OpenRouter's own Python SDK, unchanged, as a caller of `/videos`.

Run with the environment of `openrouter-sdk`: `python -m tests.conformance.openrouter_sdk.asks CHECK URL`. It
prints what it saw, or exits with 1 and says what is wrong. The SDK's models must know each value and each key
of an answer.
"""

import base64
import sys
import time
from collections.abc import Callable
from typing import Any, Final, get_args

import httpx
from openrouter import OpenRouter, components, errors
from openrouter.components.videogenerationresponse import VideoGenerationResponseStatus

KEY: Final = "sk-conformance-4711"
_MODEL: Final = "simulator/seconds"
_WITHOUT_PICTURES: Final = "simulator/cents"
_POLL_SECONDS: Final = 0.2
_ENDS_WITHIN_SECONDS: Final = 30.0
# A PNG of one pixel.
_PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Caller:
    """The SDK, with the last answer as it came."""

    def __init__(self, url: str, key: str | None = KEY, *, retries: bool = False) -> None:
        self.raw: Any = None
        self.posts = 0
        self.url = url
        client = httpx.Client(event_hooks={"request": [self._count], "response": [self._keep]})
        # It repeats what fails for up to an hour, unless this is None.
        options = {} if retries else {"retry_config": None}
        self.videos = OpenRouter(api_key=key, server_url=url, client=client, **options).video_generation

    def _count(self, request: httpx.Request) -> None:
        self.posts += request.method == "POST"

    def _keep(self, answer: httpx.Response) -> None:
        if answer.headers.get("content-type", "").startswith("application/json"):
            self.raw = (answer.read(), answer.json())[1]

    def create(self, **changes: Any) -> components.VideoGenerationResponse:
        """A job, which must be one that the SDK knows."""
        shape = {"duration": 4, "resolution": "720p", "aspect_ratio": "16:9"}
        job = self.videos.generate(**{"model": _MODEL, "prompt": "A boat", **shape, **changes})
        assert known(job, self.raw).status == "pending", job
        return job

    def ended(self, job: components.VideoGenerationResponse) -> components.VideoGenerationResponse:
        """The job once it has ended."""
        ends = time.monotonic() + _ENDS_WITHIN_SECONDS
        while job.status in ("pending", "in_progress"):
            assert time.monotonic() < ends, f"still {job.status}"
            time.sleep(_POLL_SECONDS)
            job = known(self.videos.get_generation(job_id=job.id), self.raw)
        return job

    def arm(self, fault: str, **parameters: Any) -> None:
        """Arm a fault of the simulator for the next call."""
        address = f"{self.url.removesuffix('/v1')}/_simulator/faults"
        httpx.post(address, json={"fault": fault, **parameters}).raise_for_status()


def known(model: Any, raw: Any) -> Any:
    """The model; fails if it has a value of no known kind, or if the answer has a key that it leaves out."""
    more = set(raw) - {field.alias or name for name, field in type(model).model_fields.items()}
    assert not more, f"{type(model).__name__} has no {sorted(more)}"
    type(model).model_validate(raw, strict=True)
    return model


def raised(kind: type[Exception], call: Callable[[], object]) -> Any:
    """The error of this kind that the call raises; fails if it raises none."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def completed(url: str) -> str:
    """A job is created, followed, and its file fetched."""
    caller = Caller(url)
    job = caller.create()
    assert job.polling_url == f"{url}/videos/{job.id}", job.polling_url
    job = caller.ended(job)
    assert job.status == "completed", job
    assert job.usage is not None
    assert job.unsigned_urls is not None
    content = caller.videos.get_video_content(job_id=job.id, index=0).read()
    assert content[4:8] == b"ftyp", content[:16]
    keyed = httpx.get(job.unsigned_urls[0], headers={"Authorization": f"Bearer {KEY}"})
    assert keyed.content == content, "unsigned_urls leads elsewhere"
    return f"pending, completed, charged ${job.usage.cost}, an mp4 of {len(content)} bytes"


def otherwise(url: str) -> str:
    """Jobs that end in another way."""
    caller = Caller(url)
    seen = []
    for fault, told in (
        ("failed", {"error": "Content policy violation"}),
        ("cancelled", {}),
        ("expired", {}),
    ):
        caller.arm(fault, operation="create", **told)
        job = caller.ended(caller.create())
        assert job.status == fault, job
        assert job.error, job
        seen.append(f"{fault} ({job.error})")
    return ", ".join(seen)


def models(url: str) -> str:
    """The catalogue, which needs no key."""
    caller = Caller(url, key=None)
    found = caller.videos.list_videos_models().data
    for model, raw in zip(found, caller.raw["data"], strict=True):
        known(model, raw)
    return f"{len(found)} models, without a key"


def frames(url: str) -> str:
    """A video that begins and ends with pictures; and a model that takes none."""
    caller = Caller(url)
    address = f"data:image/png;base64,{_PIXEL}"
    base64.b64decode(_PIXEL, validate=True)
    pictures = [
        components.FrameImage(
            type="image_url", frame_type=each, image_url=components.FrameImageImageURL(url=address)
        )
        for each in ("first_frame", "last_frame")
    ]
    assert caller.ended(caller.create(frame_images=pictures)).status == "completed"
    refused = raised(
        errors.BadRequestResponseError,
        lambda: caller.create(model=_WITHOUT_PICTURES, frame_images=pictures),
    )
    return f"first_frame and last_frame taken; a model without them: {refused.data.error.message}"


def refusals(url: str) -> str:
    """Each refusal is the SDK's own error, with its status and its words."""
    caller = Caller(url)
    job = caller.create()
    videos = caller.videos

    def armed(status: int, operation: str = "create", **parameters: Any) -> Callable[[], object]:
        caller.arm("error", operation=operation, status=status, **parameters)
        return {"create": caller.create, "content": lambda: videos.get_video_content(job_id=job.id)}[
            operation
        ]

    held = {"code": "in_flight_budget_exhausted", "retry_after": 1, "message": "The budget is held."}
    poor = {"message": "Insufficient credits."}

    def asks(**changes: Any) -> Callable[[], object]:
        return lambda: caller.create(**changes)

    def polls(job_id: str) -> Callable[[], object]:
        return lambda: videos.get_generation(job_id=job_id)

    def fetches(job_id: str) -> Callable[[], object]:
        return lambda: videos.get_video_content(job_id=job_id)

    unknown = "Job nowhere not found"
    # Each is prepared when its turn comes, or an earlier call would meet its fault.
    cases: list[tuple[str, type[errors.OpenRouterError], int, Callable[[], Callable[[], object]]]] = [
        ("No cookie auth", errors.UnauthorizedResponseError, 401, lambda: Caller(url, None).create),
        ("User not found.", errors.UnauthorizedResponseError, 401, lambda: Caller(url, "sk-other").create),
        ("Duration 99s is not", errors.BadRequestResponseError, 400, lambda: asks(duration=99)),
        ("not a valid model", errors.NotFoundResponseError, 404, lambda: asks(model="nobody/none")),
        (unknown, errors.NotFoundResponseError, 404, lambda: polls("nowhere")),
        (unknown, errors.NotFoundResponseError, 404, lambda: fetches("nowhere")),
        ("is not completed", errors.ConflictResponseError, 409, lambda: fetches(job.id)),
        ("Insufficient", errors.PaymentRequiredResponseError, 402, lambda: armed(402, **poor)),
        ("budget is held", errors.PaymentRequiredResponseError, 402, lambda: armed(402, **held)),
        ("", errors.ForbiddenResponseError, 403, lambda: armed(403)),
        ("", errors.PayloadTooLargeResponseError, 413, lambda: armed(413)),
        ("", errors.TooManyRequestsResponseError, 429, lambda: armed(429)),
        ("", errors.InternalServerResponseError, 500, lambda: armed(500)),
        ("", errors.ServiceUnavailableResponseError, 503, lambda: armed(503)),
        ("", errors.GoneResponseError, 410, lambda: armed(410, "content")),
        ("", errors.BadGatewayResponseError, 502, lambda: armed(502, "content")),
    ]
    for words, kind, status, prepare in cases:
        error = raised(kind, prepare())
        found = error.data.error
        assert error.status_code == found.code == status, error
        assert words in found.message, f"{found.message!r} for {words!r}"
    assert caller.ended(job).status == "completed"
    statuses = sorted({each[2] for each in cases})
    return f"{len(cases)} refusals: {', '.join(map(str, statuses))}"


def schema(url: str) -> str:
    """What OpenRouter's schema refuses has no form that the SDK reads, as its users have reported."""
    error = raised(errors.ResponseValidationError, lambda: Caller(url).create(duration=0))
    assert "ZodError" in error.body, error.body
    return "a ZodError, which the SDK cannot read"


def repeats(url: str) -> str:
    """With its defaults the SDK repeats a create whose answer was an error."""
    caller = Caller(url, retries=True)
    caller.arm("created_then_500")
    caller.create(prompt="A boat, once")
    assert caller.posts == 2, caller.posts
    return "with its defaults the SDK repeats a create that was answered with 500: 2 POSTs, 2 renders"


def creates(url: str) -> str:
    """Each line of the input is a create's body, which must be the SDK's request, no more and no less."""
    bodies = sys.stdin.read().splitlines()
    for body in bodies:
        components.VideoGenerationRequest.model_validate_json(body, strict=True, extra="forbid")
    return f"{len(bodies)} creates are requests of the SDK"


def states(url: str) -> str:
    """The states that it knows, in a line."""
    literal, *_ = get_args(VideoGenerationResponseStatus)
    return " ".join(get_args(literal))


CHECKS: Final = {
    each.__name__: each
    for each in (completed, otherwise, models, frames, refusals, schema, repeats, creates, states)
}

if __name__ == "__main__":
    try:
        print(CHECKS[sys.argv[1]](sys.argv[2]))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
