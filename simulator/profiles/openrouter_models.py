"""A catalogue in OpenRouter's form, with prices in three of its units. Its models are made up."""

from decimal import Decimal
from typing import Any, Final

_SIZES: Final = ["1280x720", "720x1280", "1920x1080", "1080x1920"]
_RATIOS: Final = ["16:9", "9:16", "1:1"]
_SHORT: Final = {"480p": 480, "720p": 720, "1080p": 1080}


def _model(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"simulator/{name}",
        "canonical_slug": f"simulator/{name}-20261001",
        "name": f"Simulator: {name}",
        "created": 1790812800,
        "description": None,
        "hugging_face_id": None,
        "supported_resolutions": ["720p", "1080p"],
        "supported_aspect_ratios": _RATIOS,
        "supported_sizes": _SIZES,
        # Not in order, as some of theirs.
        "supported_durations": [8, 4, 12, 16, 20],
        "supported_frame_images": ["first_frame", "last_frame"],
        "upscale_factor": None,
        "creativity": None,
        "generate_audio": False,
        "seed": True,
        "pricing_skus": {"duration_seconds": "0.03", "duration_seconds_1080p": "0.05"},
        "allowed_passthrough_parameters": [],
    } | changes


MODELS: Final[dict[str, dict[str, Any]]] = {
    each["id"]: each
    for each in (
        _model("seconds"),
        _model("tokens", supported_sizes=None, pricing_skus={"video_tokens": "0.0000035"}),
        _model(
            "cents",
            supported_durations=None,
            supported_frame_images=None,
            generate_audio=None,
            pricing_skus={"cents_per_second_output": "5", "cents_per_second_output_1080p": "8"},
        ),
    )
}


def price(model: str, size: str, seconds: int) -> Decimal:
    """US dollars: the most specific unit that applies, else the plain one."""
    skus: dict[str, str] = MODELS[model]["pricing_skus"]
    width, height = (int(number) for number in size.split("x"))
    tier = "_1080p" if min(width, height) >= 1080 else ""
    if "video_tokens" in skus:
        return Decimal(skus["video_tokens"]) * (width * height * seconds * 24) / 1024
    for name, per in (("duration_seconds", 1), ("cents_per_second_output", 100)):
        if name in skus:
            return Decimal(skus.get(name + tier, skus[name])) * seconds / per
    raise KeyError(model)


def pixels(resolution: str, ratio: str) -> str:
    """The size of a tier and a shape, in even pixels."""
    short = _SHORT[resolution]
    wide, _, high = ratio.partition(":")
    share = int(wide) / int(high)
    width, height = (short * share, short) if share >= 1 else (short, short / share)
    return f"{round(width / 2) * 2}x{round(height / 2) * 2}"
