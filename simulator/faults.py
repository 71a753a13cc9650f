"""The faults that can be armed at `POST /_simulator/faults`, and those that are."""

import random
from collections.abc import Mapping
from typing import Any

from simulator.fault_kinds import KINDS, Kind, Param, is_number, whole_number


class BadFault(ValueError):
    """A fault that cannot be armed; the message lists what can."""


_HOW_OFTEN = {
    "times": whole_number(None, 1, 10**9),
    "skip": whole_number(0, 0, 10**9),
    "share": Param(None, "from 0 to 1 or null", lambda v: v is None or (is_number(v) and 0 <= v <= 1)),
    "seed": whole_number(0, -(2**63), 2**63),
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
