""".env.example tells the defaults of the simulator from those of another upstream."""

import json
import re
import subprocess
import sys
from typing import Any

from tests.services import ROOT, environment_without_settings

_LINES = re.findall(r"^#([A-Z_]+)=(\S*)(.*)", (ROOT / ".env.example").read_text(), re.M)
_NAMES = [name for name, _, _ in _LINES]
_SHOW = f"""
import json
from config import settings
print(json.dumps({{name: getattr(settings, name, None) for name in {_NAMES!r}}}, default=str))
"""


def settings_with(**variables: str) -> dict[str, Any]:
    """The settings of a process with these variables and no others."""
    environment = environment_without_settings() | {"SECRET_KEY": "x"} | variables
    done = subprocess.run(
        [sys.executable, "-c", _SHOW], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def written(value: Any) -> str:
    """A setting as .env.example shows it."""
    return ",".join(f"{each:g}" for each in value) if isinstance(value, list) else f"{value}"


def test_each_default_that_differs_is_shown_for_both() -> None:
    simulated = settings_with()
    other = settings_with(SORA_BASE_URL="https://upstream.example/v1", SORA_PROVIDER="")
    differ = {name for name in _NAMES if simulated[name] != other[name]} - {"SORA_BASE_URL"}
    shown = {
        name: (value, told[1])
        for name, value, comment in _LINES
        if (told := re.search(r"Simulator: (\S+)$", comment))
    }
    assert shown == {name: (written(other[name]), written(simulated[name])) for name in differ}
