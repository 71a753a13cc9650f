"""One request as the operations see it, and the order that it comes down to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.faults import Armed
from simulator.http import bodies
from simulator.http.bodies import Body


@dataclass(frozen=True)
class Call:
    """One request with its body read, and the faults that it met."""

    request: web.Request
    raw: bytes
    fault: Armed | None
    fates: Sequence[Armed]

    @property
    def body(self) -> Body:
        return bodies.parse(self.raw, self.request.headers.get("Content-Type", ""))

    @property
    def video_id(self) -> str:
        return self.request.match_info["video_id"]


@dataclass(frozen=True)
class Order:
    """A job to make; `paid_seconds` is what it generates, `seconds` the length of its clip.

    `price` is in dollars, and None if the published list decides. `asked` is kept with the job.
    """

    kind: str
    prompt: str
    model: str
    size: str
    seconds: int
    paid_seconds: int
    source_id: str | None = None
    extensions: int = 0
    reference: bytes | None = None
    price: Decimal | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
