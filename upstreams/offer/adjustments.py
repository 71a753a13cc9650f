"""What a request was changed in, to fit what the upstream offers."""

from collections.abc import Iterable
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError


class Adjustments:
    """Collects differences. With strict fitting they are errors."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.allowed: dict[str, list[str]] = {}

    def note(
        self, name: str, asked: object, used: object, reason: str, allowed: Iterable[object] = ()
    ) -> None:
        """Adds one: what of the field was asked for and what is used. `allowed`: what need not be changed."""
        self.made.append({"field": name, "asked": asked, "used": used, "reason": reason})
        self.allowed[name] = [str(value) for value in allowed]

    def refuse(self) -> None:
        """Raises ValidationError with what is allowed, if there is a difference."""
        if not self.made:
            return
        problems = {}
        for made in self.made:
            allowed = self.allowed[made["field"]]
            hint = f"allowed: {', '.join(allowed)}" if allowed else "leave it out"
            problems[made["field"]] = [ErrorDetail(f"{made['reason']} ({hint}).", code="not_offered")]
        raise ValidationError(problems)
