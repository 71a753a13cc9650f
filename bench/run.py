"""`python -m bench.run`: all benchmarks, one after the other, and what has become slower.

With `--write` it keeps the figures in bench/results.json and docs/benchmarks.md. Otherwise it compares the
ratios with those that are kept, and fails if one has become worse by a fifth.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = _ROOT / "bench" / "results.json"
PAGE: Final = _ROOT / "docs" / "benchmarks.md"
_WORSE: Final = 0.2
_TIMEOUT_SECONDS: Final = 900
_QUICK: Final = {"web": ("--rounds", "2", "--seconds", "1.5")}
_PARTS: Final = ("web", "work", "sweep", "flat", "growth", "embedded", "claim", "upload", "downloads")
_START, _END = "<!-- figures -->", "<!-- end of figures -->"
# By the end of their names: those of which more is better, and those of which less is.
_MORE_IS_BETTER: Final = "_ratio"
_LESS_IS_BETTER: Final = "_growth"


def main() -> None:
    """Runs them. Exits with 1 if a ratio has become worse."""
    parser = argparse.ArgumentParser(prog="python -m bench.run")
    parser.add_argument(
        "--quick", action="store_true", help="only the web server, in less than three minutes"
    )
    parser.add_argument("--write", action="store_true", help="keep the figures")
    chosen = parser.parse_args()
    found: dict[str, float] = {}
    for part in _PARTS[:1] if chosen.quick else _PARTS:
        found |= _figures(part, _QUICK.get(part, ()) if chosen.quick else ())
    if chosen.write:
        RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        write_page(found)
        return
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if slower := worse(kept, found):
        print("\n".join(["Worse than in bench/results.json by a fifth:", *slower]))
        sys.exit(1)


def worse(kept: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
    """The ratios that have become worse by a fifth, a line each."""
    lines = []
    for name in sorted(kept.keys() & found.keys()):
        before, now = kept[name], found[name]
        has_fallen = name.endswith(_MORE_IS_BETTER) and now < before * (1 - _WORSE)
        has_risen = name.endswith(_LESS_IS_BETTER) and now > before / (1 - _WORSE)
        if has_fallen or has_risen:
            lines.append(f"{name}: {before:g} before, {now:g} now")
    return lines


def write_page(found: Mapping[str, float]) -> None:
    """Puts the figures into the page."""
    text = PAGE.read_text()
    before, after = text.split(_START)[0], text.split(_END)[1]
    rows = [
        "| | each second | plain | ratio | spread | p99 | p99, of plain's |",
        "|---|---|---|---|---|---|---|",
    ]
    beside_plain = sorted(each.removesuffix("_p99_growth") for each in found if each.endswith("_p99_growth"))
    for name in beside_plain:
        rate, plain, ratio, least, most, p99, longer = (
            found[f"{name}_{each}"]
            for each in (
                "per_second",
                "plain_per_second",
                "ratio",
                "ratio_min",
                "ratio_max",
                "p99_ms",
                "p99_growth",
            )
        )
        shown = name.replace("_", " ")
        rows.append(
            f"| {shown} | {rate:.0f} | {plain:.0f} | {ratio:.2f} | {least:.2f} to {most:.2f} | {p99:.0f} ms |"
            f" {longer:.1f} |"
        )
    others = sorted(name for name in found if not any(name.startswith(f"{each}_") for each in beside_plain))
    rows += [
        "",
        "| | |",
        "|---|---|",
        *(f"| {name.replace('_', ' ')} | {found[name]:g} |" for name in others),
    ]
    PAGE.write_text("\n".join([f"{before}{_START}", "", *rows, "", f"{_END}{after}"]))


def _figures(part: str, arguments: tuple[str, ...]) -> dict[str, float]:
    """Runs one in a process of its own. The last line that it prints is JSON; the others are for people."""
    command = [sys.executable, "-m", f"bench.{part}", *arguments]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, timeout=_TIMEOUT_SECONDS)
    *lines, last = done.stdout.rstrip().splitlines() or [""]
    print("\n".join(lines), flush=True)
    if done.returncode:
        sys.exit(f"bench.{part} has failed.")
    found: dict[str, float] = json.loads(last)
    return found


if __name__ == "__main__":
    main()
