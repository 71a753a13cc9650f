"""The faults that can be armed at `POST /_simulator/faults`, and those that are."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PAID = frozenset({"create", "remix", "edit", "extend"})
OPERATIONS = PAID | {"retrieve", "list", "delete", "content", "create_character", "retrieve_character"}
_VIDEO = PAID | {"retrieve", "list"}
_WEBHOOK = frozenset({"webhook"})

MODERATION = {"code": "moderation_blocked", "message": "Your request was blocked by our moderation system."}
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class BadFault(ValueError):
    """A fault that cannot be armed; the message lists what can."""


@dataclass(frozen=True)
class Param:
    """A parameter of a fault: its default, and what it must be."""

    default: Any
    says: str
    accepts: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(default: float) -> Param:
    return Param(default, "seconds, 0 or more", lambda value: _is_number(value) and value >= 0)


def _whole(default: int | None, least: int, most: int) -> Param:
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


def _header(says: str) -> Param:
    return Param(None, says, lambda value: value is None or isinstance(value, str) or _is_number(value))


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
    "error": Kind(OPERATIONS, {"status": _whole(500, 400, 599), **_ERROR_PARAMS}),
    "redirect": Kind(OPERATIONS, {"status": _whole(307, 300, 308), "location": _text(None)}),
    # Handled, whatever the answer says.
    "created_then_drop": Kind(PAID),
    "created_then_500": Kind(PAID, {"status": _whole(500, 400, 599), **_ERROR_PARAMS}),
    "deleted_then_drop": Kind(frozenset({"delete"})),
    "slow": Kind(OPERATIONS, {"seconds": _seconds(5), "handled_first": _flag(True)}),
    "drip": Kind(OPERATIONS, {"seconds": _seconds(0.2), "bytes": _whole(4, 1, 2**20)}),
    "endless": Kind(OPERATIONS, {"seconds": _seconds(0.02), "bytes": _whole(4096, 1, 2**20)}),
    "garbage": Kind(
        OPERATIONS,
        {
            "status": _whole(200, 200, 299),
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
    "given_id": Kind(PAID, {"id": _ANYTHING, "length": _whole(None, 1, 10**6)}),
    # The job's fate.
    "stuck": Kind(PAID, {"progress": _whole(99, 0, 100)}, fate=True),
    "failed": Kind(PAID, {"error": Param(MODERATION, "any JSON value", lambda value: True)}, fate=True),
    "unknown_status": Kind(PAID, {"status": _text("processing"), "ends": _flag(True)}, fate=True),
    "expired": Kind(PAID, fate=True),
    "cancelled": Kind(PAID, {"status": _text("cancelled")}, fate=True),
    "lagging_list": Kind(PAID, {"seconds": _seconds(5)}, fate=True),
    "vanished": Kind(PAID, {"listed": _flag(True)}, fate=True),
    "webhook_early": Kind(PAID, {"seconds": _seconds(30)}),
    # Lists, content, webhooks.
    "page_loop": Kind(frozenset({"list"})),
    "truncated": Kind(
        _CONTENT,
        {
            "fraction": Param(0.5, "from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1),
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
_HOW_OFTEN = {
    "times": _whole(None, 1, 10**9),
    "skip": _whole(0, 0, 10**9),
    "share": Param(None, "from 0 to 1 or null", lambda v: v is None or (_is_number(v) and 0 <= v <= 1)),
    "seed": _whole(0, -(2**63), 2**63),
}

_ADDRESS = ("fault", "operation", "video_id")


class Armed:
    """One armed fault. It fires on `times` calls (None: until cleared) after `skip`, or on a `share`."""

    def __init__(self, number: int, request: Mapping[str, Any]) -> None:
        self.number = number
        self.fault, self.kind = _known(request.get("fault"))
        operations = self.kind.operations
        default = "create" if "create" in operations else min(operations)
        self.operation = request.get("operation", default)
        if not isinstance(self.operation, str) or self.operation not in operations:
            raise BadFault(f"'{self.fault}' is a fault of these operations: {', '.join(sorted(operations))}")
        self.video_id = request.get("video_id")
        if self.video_id is not None and not self.kind.fate:
            fates = ", ".join(name for name, kind in KINDS.items() if kind.fate)
            raise BadFault(f"'video_id' goes with the fates of a job: {fates}")
        given = {name: value for name, value in request.items() if name not in _ADDRESS}
        often = _checked({name: given.pop(name) for name in _HOW_OFTEN if name in given}, _HOW_OFTEN)
        self.params = _checked(given, self.kind.params)
        self.share: float | None = often["share"]
        once = "times" not in request and self.share is None
        self.left: int | None = 1 if once else often["times"]
        self._skip: int = often["skip"]
        self._random = random.Random(often["seed"])
        self.fired = 0

    def fires(self) -> bool:
        """Whether this call meets the fault; counts the call."""
        if self._skip:
            self._skip -= 1
            return False
        if self.left == 0 or (self.share is not None and self._random.random() >= self.share):
            return False
        if self.left is not None:
            self.left -= 1
        self.fired += 1
        return True

    def describe(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "operation": self.operation,
            "fault": self.fault,
            "times_left": self.left,
            "share": self.share,
            "fired": self.fired,
            **self.params,
        }


class Faults:
    """The armed faults, in the order of their arming; kept in memory only."""

    def __init__(self) -> None:
        self._armed: list[Armed] = []
        self._number = 0

    def arm(self, request: Mapping[str, Any]) -> Armed:
        """Checks and arms one; raises BadFault. One with a `video_id` is returned, but not armed."""
        armed = Armed(self._number + 1, request)
        self._number += 1
        if armed.video_id is None:
            self._armed.append(armed)
        return armed

    def meet(self, operation: str) -> tuple[Armed | None, list[Armed]]:
        """The fault of this call's answer, if any, and the fates of the job that it makes."""
        answer: Armed | None = None
        fates: list[Armed] = []
        for armed in self._armed:
            if armed.operation != operation or (answer is not None and not armed.kind.fate):
                continue
            if armed.fires():
                if armed.kind.fate:
                    fates.append(armed)
                else:
                    answer = armed
        self._armed = [armed for armed in self._armed if armed.left != 0]
        return answer, fates

    def describe(self) -> list[dict[str, Any]]:
        return [armed.describe() for armed in self._armed]

    def clear(self) -> None:
        self._armed.clear()


def _known(name: Any) -> tuple[str, Kind]:
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise BadFault(f"'fault' must be one of: {', '.join(KINDS)}")
    return str(name), kind


def _checked(given: Mapping[str, Any], params: Mapping[str, Param]) -> dict[str, Any]:
    for name, value in given.items():
        if name not in params:
            allowed = ", ".join([*_ADDRESS, *_HOW_OFTEN, *params])
            raise BadFault(f"unknown parameter '{name}'; allowed: {allowed}")
        if not params[name].accepts(value):
            raise BadFault(f"'{name}' must be {params[name].says}")
    return {name: param.default for name, param in params.items()} | dict(given)
