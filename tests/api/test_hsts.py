"""Strict-Transport-Security says no more than the operator chose."""

import json
import subprocess
import sys

import pytest

from tests.services import ROOT, environment_without_settings

_SHOW = (
    "import json; from config import settings as s; "
    "print(json.dumps([s.SECURE_HSTS_SECONDS, s.SECURE_HSTS_INCLUDE_SUBDOMAINS, s.SECURE_HSTS_PRELOAD]))"
)


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, [0, False, False]),
        ({"TAKEONE_URL": "https://takeone.example"}, [31_536_000, False, False]),
        ({"TAKEONE_URL": "https://takeone.example", "HSTS_SECONDS": "60"}, [60, False, False]),
        (
            {"TAKEONE_URL": "https://takeone.example", "HSTS_SUBDOMAINS": "true", "HSTS_PRELOAD": "true"},
            [31_536_000, True, True],
        ),
    ],
)
def test_subdomains_and_preload_are_a_choice(chosen: dict[str, str], found: list[object]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SHOW],
        cwd=ROOT,
        env=environment_without_settings() | {"SECRET_KEY": "unused"} | chosen,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert json.loads(done.stdout) == found
