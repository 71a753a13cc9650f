"""How much of the code the tests run at least, by part. The processes of the e2e tests are not measured."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.services import ROOT

OPTIONS: Final = ["--cov", "--cov-report="]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the code, by the beginnings of its paths, and the least share of its lines in percent."""

    name: str
    floor: float
    paths: tuple[str, ...]


PARTS: Final = (
    Part("all", 70, ("",)),
    Part(
        "services",
        80,
        (
            "accounts/budgets/",
            "accounts/keys/",
            "accounts/limits/",
            "accounts/sessions/",
            "batches/lifecycle/",
            "videos/lifecycle/",
            "videos/queue/",
            "videos/reconciliation/",
            "videos/results/",
            "videos/retention/",
        ),
    ),
    Part("client", 75, ("upstreams/client/",)),
    Part(
        "repository",
        85,
        ("accounts/models/", "batches/models.py", "upstreams/models.py", "videos/models/"),
    ),
    Part("API", 80, ("api/", "batches/api/", "compat/", "videos/api/", "webhooks/")),
)


def environment(folder: Path) -> dict[str, str]:
    """What a run that measures has set; its data go to the folder."""
    found = {"COVERAGE_FILE": str(folder / "coverage")}
    return found | ({"COVERAGE_CORE": "sysmon"} if sys.version_info >= (3, 12) else {})


def judge(folder: Path) -> tuple[list[str], bool]:
    """A line for each part, and whether all reach their floors."""
    report = folder / "coverage.json"
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "--data-file", str(folder / "coverage")]
    done = subprocess.run([*command, "-o", str(report)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return [f"Coverage was not measured: {done.stdout.strip()} {done.stderr.strip()}"], False
    return judged(json.loads(report.read_text())["files"])


def judged(files: dict[str, Any]) -> tuple[list[str], bool]:
    """The same of what `coverage json` says of each file. A part without a line is below its floor."""
    lines, passed = [], True
    for part in PARTS:
        found = [each["summary"] for path, each in files.items() if path.startswith(part.paths)]
        statements = sum(summary["num_statements"] for summary in found)
        share = 100 * sum(summary["covered_lines"] for summary in found) / statements if statements else 0.0
        enough = share >= part.floor
        passed &= enough
        lines.append(
            f"{'ok' if enough else 'FAILED':<7}{share:6.1f} % of {part.name}, {part.floor:g} at least"
        )
    return lines, passed
