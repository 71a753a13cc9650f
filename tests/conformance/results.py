"""`conformance/results.json`: what each case saw, and the tables of docs/upstreams.md made from it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

RESULTS: Final = Path(__file__).resolve().parents[2] / "conformance" / "results.json"
_LIMITS: Final = ("cancel", "lost answer", "restart", "retries")
# Servers that no case has reached, and what their dialect was written from, or judged by.
NOT_TRIED: Final = {
    "TensorRT-LLM": "not tried",
    "Azure OpenAI": "not tried",
    "OpenRouter": "not tried; its SDK and a mock were, [see below](#openrouter-judged-by-its-sdk-and-a-mock)",
}
# What is no server, and what it says something about.
STAND_INS: Final = {
    "openrouter-sdk": "OpenRouter's Python SDK | the profile `openrouter` of the simulator, and our creates",
    "aimock": "aimock, a mock that others made | Take One with the dialect `openrouter`",
}

# What calls Take One itself.
CALLERS: Final = {"openai-node": "OpenAI's SDK for Node (`openai`) | Take One's own `/v1/videos`"}


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
        return f"{self.server + ' ' + self.version:<21}  {self.case:<15}  {self.outcome:<6}  {self.detail}"


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
        if each.server not in {*STAND_INS, *CALLERS}:
            by_server.setdefault(each.server, []).append(each)
    columns = (
        "server",
        "version",
        "delivered",
        "begun with a picture",
        "made from another video",
        "if something goes wrong",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for server, found in by_server.items():
        seen = {each.case: _shown(each) for each in found}
        limits = "; ".join(f"*{case}*: {seen[case]}" for case in _LIMITS if case in seen)
        tried = [seen.get(case, "not tried") for case in ("deliver", "picture", "made from another")]
        lines.append(f"| {' | '.join((server, found[0].version, *tried, limits))} |")
    lines += [f"| {server} | | {said} | | | |" for server, said in NOT_TRIED.items()]
    return "\n".join(lines) + "\n"


def stand_ins_table(results: Iterable[Result], judges: Mapping[str, str] = STAND_INS) -> str:
    """A row for each of these judges that are no servers, in Markdown."""
    lines = ["| | judges | version | fine |", "|---|---|---|---|"]
    every = list(results)
    for name, said in judges.items():
        found = [each for each in every if each.server == name]
        fine = sum(each.outcome == "ok" for each in found)
        shown = f"{fine} of {len(found)} cases" if found else "not tried"
        lines.append(f"| {said} | {found[0].version if found else ''} | {shown} |")
    return "\n".join(lines) + "\n"


def _shown(result: Result) -> str:
    return result.detail.replace("|", "/") if result.outcome == "ok" else "FAILED"
