"""`conformance/results.json`: what each case saw, and the table of docs/upstreams.md that is made from it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

RESULTS: Final = Path(__file__).resolve().parents[2] / "conformance" / "results.json"
_LIMITS: Final = ("cancel", "lost answer", "restart", "retries")
# Servers whose dialect was written from their documentation or source alone.
NOT_TRIED: Final = ("TensorRT-LLM", "Azure OpenAI", "OpenRouter")


@dataclass(frozen=True, slots=True)
class Result:
    """What one case saw at one version of a server."""

    server: str
    version: str
    case: str
    outcome: Literal["ok", "FAILED"]
    detail: str

    def line(self) -> str:
        """The result for people."""
        return f"{self.server + ' ' + self.version:<20}  {self.case:<13}  {self.outcome:<6}  {self.detail}"


def load(path: Path = RESULTS) -> list[Result]:
    """The results of the last runs; none if there is no file."""
    if not path.exists():
        return []
    return [Result(**row) for row in json.loads(path.read_text())]


def merge(old: Iterable[Result], new: Sequence[Result]) -> list[Result]:
    """The old results that no new one replaces, then the new ones, server by server."""
    found = {(each.server, each.case): each for each in old}
    for each in new:
        # After an update, what the old version did says nothing.
        found = {
            key: one for key, one in found.items() if one.server != each.server or one.version == each.version
        }
        # At the end, so that a whole run is kept in the order of its cases.
        found.pop((each.server, each.case), None)
        found[each.server, each.case] = each
    return sorted(found.values(), key=lambda each: each.server)


def save(results: Iterable[Result], path: Path = RESULTS) -> None:
    """Write the file, a result a line, so that a change of one shows as one."""
    path.parent.mkdir(exist_ok=True)
    rows = ",\n".join(json.dumps(asdict(each)) for each in results)
    path.write_text(f"[\n{rows}\n]\n")


def table(results: Iterable[Result]) -> str:
    """A row for each server, in Markdown."""
    by_server: dict[str, list[Result]] = {}
    for each in results:
        by_server.setdefault(each.server, []).append(each)
    lines = ["| server | version | delivered | if something goes wrong |", "|---|---|---|---|"]
    for server, found in by_server.items():
        seen = {each.case: _shown(each) for each in found}
        limits = "; ".join(f"*{case}*: {seen[case]}" for case in _LIMITS if case in seen)
        lines.append(f"| {server} | {found[0].version} | {seen.get('deliver', 'not tried')} | {limits} |")
    lines += [f"| {server} | | not tried | |" for server in NOT_TRIED]
    return "\n".join(lines) + "\n"


def _shown(result: Result) -> str:
    return result.detail.replace("|", "/") if result.outcome == "ok" else "FAILED"
