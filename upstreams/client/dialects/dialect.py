"""How servers that speak `/v1/videos` differ, as data: what each takes, echoes, lists and cancels."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from upstreams.client.types import CreateRequest, Video, canonical_seconds


@dataclass(frozen=True, slots=True)
class Model:
    """What one model renders: sizes as `WxH` in pixels, durations in seconds as the wire spells them."""

    sizes: tuple[str, ...]
    seconds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One server's variant of the protocol.

    `takes`: the optional fields of a create that it understands, of negative_prompt, fps and seed.
    `echoes`: the fields of a create that its Video object shows again.
    `proves_absence`: a video that its list does not show was never accepted.
    `cancels`: DELETE stops a running render.
    """

    name: str
    models: Mapping[str, Model]
    default_model: str
    takes: frozenset[str]
    echoes: frozenset[str]
    lists: bool
    proves_absence: bool
    cancels: bool
    thumbnails: bool
    body: Literal["json", "multipart"]

    def match_key(self, source: CreateRequest | Video) -> str | None:
        """SHA-256 in hex over the echoed fields: equal for a request and for the video that it became.

        None if the source lacks an echoed field: then it cannot be compared.
        """
        echoed: dict[str, str | int] = {}
        for field in self.echoes:
            value = getattr(source, field, None)
            if field == "seconds":
                value = canonical_seconds(value)
            if value is None:
                return None
            echoed[field] = value
        # An empty key would make all videos alike.
        return hashlib.sha256(json.dumps(echoed, sort_keys=True).encode()).hexdigest() if echoed else None

    def body_of(self, request: CreateRequest) -> dict[str, str | int]:
        """The fields of the create that were asked for and that this server takes."""
        body: dict[str, str | int] = {
            "prompt": request.prompt,
            "model": request.model,
            "seconds": request.seconds,
            "size": request.size,
        }
        for field in sorted(self.takes):
            value = getattr(request, field)
            if value is not None:
                body[field] = value
        return body


# Sizes by model and the longer durations are from OpenAI's guide (edition of March 2026). Its OpenAPI file
# never listed 1080p, 16 s and 20 s.
_SECONDS = ("4", "8", "12", "16", "20")
_SORA_2 = Model(sizes=("720x1280", "1280x720"), seconds=_SECONDS)
_SORA_2_PRO = Model(
    sizes=("720x1280", "1280x720", "1024x1792", "1792x1024", "1080x1920", "1920x1080"), seconds=_SECONDS
)

OPENAI = Dialect(
    name="openai",
    models=MappingProxyType(
        {
            "sora-2": _SORA_2,
            "sora-2-2025-10-06": _SORA_2,
            "sora-2-2025-12-08": _SORA_2,
            "sora-2-pro": _SORA_2_PRO,
            "sora-2-pro-2025-10-06": _SORA_2_PRO,
        }
    ),
    default_model="sora-2",
    takes=frozenset(),
    echoes=frozenset({"prompt", "model", "seconds", "size"}),
    lists=True,
    proves_absence=True,
    cancels=False,
    thumbnails=True,
    body="json",
)

DIALECTS: Mapping[str, Dialect] = MappingProxyType({OPENAI.name: OPENAI})
