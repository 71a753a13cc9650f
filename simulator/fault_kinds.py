"""The faults that there are, and the parameters of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PAID = frozenset({"create", "remix", "edit", "extend"})


OPERATIONS = PAID | {
    *("retrieve", "list", "delete", "content", "create_character", "retrieve_character", "models", "key")
}


_VIDEO = PAID | {"retrieve", "list"}


_WEBHOOK = frozenset({"webhook"})


MODERATION = {"code": "moderation_blocked", "message": "Your request was blocked by our moderation system."}


_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True)
class Param:
    """A parameter of a fault: its default, and what it must be."""

    default: Any
    says: str
    accepts: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(default: float) -> Param:
    return Param(default, "seconds, 0 or more", lambda value: is_number(value) and value >= 0)


def whole_number(default: int | None, least: int, most: int) -> Param:
    return Param(
        default,
        f"a whole number from {least} to {most}" + ("" if default is not None else " or null"),
        lambda value: (value is None and default is None) or (type(value) is int and least <= value <= most),
    )


def _text(default: str | None) -> Param:
    return Param(default, "a string", lambda value: isinstance(value, str) or value is default)


_FLAG = "true or false"


_ANYTHING = Param(None, "any JSON value", lambda value: True)


def _flag(default: bool) -> Param:
    return Param(default, _FLAG, lambda value: isinstance(value, bool))


def _share(default: float) -> Param:
    return Param(default, "from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)


def _header(says: str) -> Param:
    return Param(None, says, lambda value: value is None or isinstance(value, str) or is_number(value))


_ERROR_PARAMS = {
    "message": _text(None),
    "type": _text(None),
    "code": _text(None),
    "param": _text(None),
    "retry_after": _header("seconds, an HTTP date or null"),
    "retry_after_ms": _header("milliseconds or null"),
    "should_retry": Param(None, "true, false or null", lambda value: value is None or type(value) is bool),
    "body": _text(None),
}


@dataclass(frozen=True)
class Kind:
    """One sort of fault. A *fate* marks the job that the call makes; others change the call's answer."""

    operations: frozenset[str]
    params: Mapping[str, Param] = field(default_factory=dict)
    fate: bool = False


_CONTENT = frozenset({"content"})


KINDS: dict[str, Kind] = {
    # Not handled: no job is made.
    "refuse": Kind(OPERATIONS),
    "error": Kind(OPERATIONS, {"status": whole_number(500, 400, 599), **_ERROR_PARAMS}),
    "redirect": Kind(OPERATIONS, {"status": whole_number(307, 300, 308), "location": _text(None)}),
    # Handled, even if the answer says otherwise.
    "created_then_drop": Kind(PAID),
    "created_then_500": Kind(PAID, {"status": whole_number(500, 400, 599), **_ERROR_PARAMS}),
    "deleted_then_drop": Kind(frozenset({"delete"})),
    "slow": Kind(OPERATIONS, {"seconds": _seconds(5), "handled_first": _flag(True)}),
    "drip": Kind(OPERATIONS, {"seconds": _seconds(0.2), "bytes": whole_number(4, 1, 2**20)}),
    "endless": Kind(OPERATIONS, {"seconds": _seconds(0.02), "bytes": whole_number(4096, 1, 2**20)}),
    "garbage": Kind(
        OPERATIONS,
        {
            "status": whole_number(200, 200, 299),
            "body": _text(_HTML),
            "content_type": _text("text/html"),
            "handled": _flag(False),
        },
    ),
    "altered": Kind(
        _VIDEO,
        {
            "set": Param({}, "an object", lambda value: isinstance(value, dict)),
            "drop": Param([], "a list of keys", lambda value: isinstance(value, list)),
        },
    ),
    "given_id": Kind(PAID, {"id": _ANYTHING, "length": whole_number(None, 1, 10**6)}),
    "reused_id": Kind(PAID),
    # The job's fate.
    "stuck": Kind(PAID, {"progress": whole_number(99, 0, 100)}, fate=True),
    "failed": Kind(PAID, {"error": Param(MODERATION, "any JSON value", lambda value: True)}, fate=True),
    "unknown_status": Kind(PAID, {"status": _text("processing"), "ends": _flag(True)}, fate=True),
    "expired": Kind(PAID, fate=True),
    "cancelled": Kind(PAID, {"status": _text("cancelled")}, fate=True),
    "lagging_list": Kind(PAID, {"seconds": _seconds(5)}, fate=True),
    "vanished": Kind(PAID, {"listed": _flag(True)}, fate=True),
    "webhook_early": Kind(PAID, {"seconds": _seconds(30)}),
    # Lists, content, webhooks.
    "page_loop": Kind(frozenset({"list"})),
    "jumbled": Kind(
        frozenset({"list"}),
        {"doubled": _flag(False), "shuffled": _flag(False), "omitted": _share(0), "bare": _flag(False)},
    ),
    "truncated": Kind(
        _CONTENT,
        {
            "fraction": _share(0.5),
            "content_length": _flag(True),
        },
    ),
    "expired_content": Kind(_CONTENT),
    "not_ready": Kind(_CONTENT),
    "error_as_content": Kind(_CONTENT, {"body": _text(None)}),
    "doubled": Kind(_WEBHOOK),
    "lost": Kind(_WEBHOOK),
    "bad_signature": Kind(_WEBHOOK),
}
