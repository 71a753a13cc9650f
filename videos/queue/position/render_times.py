"""How long renders take, as measured here."""

import math
import statistics
from datetime import datetime, timedelta
from typing import Any, Final

from videos.models import Submission
from videos.states import SubmissionState

_RENDERS: Final = 100


class RenderTimes:
    """How long the last renders of each model and length took, from the claim to the kept file."""

    def __init__(self, provider_id: int) -> None:
        self._provider_id = provider_id
        self._measured: dict[tuple[str, str], tuple[float, float] | None] = {}

    def of(self, request: dict[str, Any]) -> tuple[float, float] | None:
        """The median and the 90th percentile in seconds; None if none was measured."""
        kind = request["model"], request["seconds"]
        if kind not in self._measured:
            self._measured[kind] = self._measure(*kind)
        return self._measured[kind]

    def ends(
        self, request: dict[str, Any], start: datetime, wait: float | None
    ) -> tuple[datetime | None, datetime | None]:
        """When a render of this kind ends if it is claimed `wait` seconds after `start`."""
        measured = self.of(request)
        if measured is None or wait is None:
            return None, None
        median, slow = (start + timedelta(seconds=round(wait + seconds)) for seconds in measured)
        return median, slow

    def _measure(self, model: str, seconds: str) -> tuple[float, float] | None:
        last = (
            Submission.objects.filter(
                provider=self._provider_id, state=SubmissionState.STORED, model=model, seconds=seconds
            )
            .order_by("-ended_at")
            .values_list("created_at", "ended_at")[:_RENDERS]
        )
        took = sorted((end - start).total_seconds() for start, end in last if end is not None)
        if not took:
            return None
        return statistics.median(took), took[math.ceil(0.9 * len(took)) - 1]
