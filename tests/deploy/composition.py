"""docker-compose.yml as an engine reads it: anchors merged, variables replaced."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.services import ROOT

# Those that run our image.
OURS = ("migrate", "web", "worker", "beat", "simulator")
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}|\$([A-Z_]+|\$)")


def load(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file with these variables of the shell or of .env, and no others."""
    raw = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    found: dict[str, Any] = _replaced(raw, variables or {})
    return found


def _replaced(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, variables) for each in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _variable(found, variables), value)
    return value


def _variable(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found[3] == "$":
        return "$"
    assert found[3] is None, f"{found[0]} has no default"
    return variables.get(found[1]) or found[2] or ""


def services(variables: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """Each service by name."""
    found: dict[str, dict[str, Any]] = load(variables)["services"]
    return found


def start_order() -> list[str]:
    """The services in an order that depends_on allows."""
    known = services()
    order: list[str] = []

    def add(name: str) -> None:
        for each in known[name].get("depends_on", {}):
            add(each)
        if name not in order:
            order.append(name)

    for name in known:
        add(name)
    return order


def seconds(duration: str) -> float:
    """A duration such as 1m30s."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    parts = re.findall(r"(\d+)(ms|h|m|s)", duration)
    assert "".join(f"{number}{unit}" for number, unit in parts) == duration
    return sum(int(number) * units[unit] for number, unit in parts)
