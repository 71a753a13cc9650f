from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings


def ids() -> list[str]:
    return [str(found.id) for found in run_checks() if str(found.id).startswith("videos.")]


def test_the_settings_of_this_run_are_in_order() -> None:
    assert ids() == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"SORA_BASE_URL_CHOSEN": True, "SORA_PROVIDER": ""}, "videos.E001"),
        ({"SORA_BASE_URL_CHOSEN": True, "SORA_PROVIDER": "simulator"}, "videos.E002"),
        ({"SORA_DIALECT": "klingon"}, "videos.E003"),
        ({"SORA_MODEL": "veo"}, "videos.E004"),
        ({"SORA_DIALECT": "sglang"}, "videos.E004"),
        ({"SORA_PRICES": '{"m": {"1x1": -1}}'}, "videos.E005"),
        ({"JOB_GIVE_UP_AFTER": 60, "SORA_TIMEOUT": 60}, "videos.E007"),
        ({"SORA_SYNC_SECONDS_MIN": 20, "SORA_SYNC_SECONDS_MAX": 10}, "videos.E006"),
    ],
)
def test_a_contradiction_between_settings_is_found(
    settings: Settings, changed: dict[str, Any], expected: str
) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    assert ids() == [expected]
