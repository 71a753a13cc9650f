"""Rules between settings, checked at start-up."""

from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from health.checks import NAMES

_SHORTEST_TOKEN: Final = 16


@register("settings")
def monitoring_is_configured(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Checks that READY_REQUIRES names checks and that METRICS_TOKEN cannot be guessed."""
    found: list[CheckMessage] = []
    unknown = [name for name in settings.READY_REQUIRES if name not in NAMES]
    if unknown:
        hint = f"Known checks: {', '.join(NAMES)}."
        found.append(Error(f"READY_REQUIRES has {', '.join(unknown)}.", hint=hint, id="health.E001"))
    if 0 < len(settings.METRICS_TOKEN) < _SHORTEST_TOKEN:
        hint = f"Take at least {_SHORTEST_TOKEN} random characters."
        found.append(Error("METRICS_TOKEN is too short.", hint=hint, id="health.E002"))
    return found
