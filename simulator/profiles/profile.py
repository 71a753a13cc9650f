"""How a server answers, as data and small functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol

from simulator.calls import Call, Order
from simulator.fault_kinds import OPERATIONS
from simulator.http.errors import ApiError
from simulator.jobs import Job
from simulator.profiles.parts.hooks import STANDARD, Hooks
from simulator.profiles.parts.pages import Pager
from simulator.profiles.parts.view import View


class Books(Protocol):
    """What limits look at."""

    def running(self, now: float) -> int: ...

    def made_since(self, moment: float) -> int: ...


# What a further route shows: of the served model, and of the ledger's jobs and prices.
Show = Callable[[str, Sequence[tuple[Job, str | None]]], dict[str, Any]]
# Paid routes and the others of `/v1/videos`; more are in `extras`.
ALL = OPERATIONS - {"models", "key"}
PLAIN = frozenset({"create", "retrieve", "list", "content", "delete"})


def _unlimited(books: Books, now: float) -> None:
    """No limit."""


def _ok(view: View) -> int:
    return 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One server.

    `model` is the name of the model that it serves unless told otherwise. `operations`: those that have a
    route; `extras`: further ones. `words`: its own for `queued` and `in_progress`. `forgets`: it forgets its
    jobs when it restarts. `needs_key`: it refuses a call without one, unless it is `open`. `order` reads a
    create and `page` makes a page of the list; None is OpenAI's way. `paged`: the page says where it begins
    and ends. `deletes`: what DELETE does to a running job. `content` says which file a query asks for,
    `attachment` names it, and of its headers tell `ranges` and `chunked`. All refusals pass `body`.
    `behind` goes before the names of the headers of a server behind it.
    """

    name: str
    model: str = ""
    operations: frozenset[str] = ALL
    words: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    forgets: bool = False
    needs_key: bool = True
    unauthorized: Callable[[str], ApiError]
    openai_headers: bool = False
    order: Callable[[Call, str], Order] | None = None
    limits: Callable[[Books, float], None] = _unlimited
    created_status: int = 200
    retrieved_status: Callable[[View], int] = _ok
    video: Callable[[View], dict[str, Any]]
    new_id: Callable[[float], str]
    page: Pager | None = None
    paged: bool = True
    deletes: Literal["refuses", "cancels", "forgets"] = "refuses"
    deleted: Callable[[View], dict[str, Any]]
    unknown: Callable[[str], ApiError]
    not_ready: Callable[[str], ApiError]
    expired: Callable[[str], ApiError]
    content: Callable[[Mapping[str, str], View], str]
    attachment: Callable[[Job], str] | None = None
    ranges: bool = False
    chunked: bool = False
    behind: str = ""
    body: Callable[[ApiError], bytes]
    no_route: Callable[[int, str, str], ApiError]
    hooks: Hooks = STANDARD
    open: frozenset[str] = frozenset()
    extras: Mapping[str, tuple[str, Show]] = field(default_factory=lambda: MappingProxyType({}))
