"""`python -m tests.faults.survivors`: the mutants of `mutmut run` that no test notices, against those known.

A line of survivors.txt is a function, what was changed in it, and into what. Numbers of mutants are left out:
they change with every edit. With --write the list becomes what the last run found; with --only, that of one
package, and the rest of the list stays.
"""

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LIST: Final = Path(__file__).with_name("survivors.txt")
_MUTMUT: Final = str(Path(sys.executable).with_name("mutmut"))
# Nothing was tried, or it came to no result: such a run proves nothing.
_UNTRIED: Final = {"not checked", "no tests", "suspicious", "segfault"}


def outcomes() -> Iterator[tuple[str, str]]:
    """Each mutant of the last run by name, and what became of it."""
    for line in _ask("results", "--all", "true").splitlines():
        name, colon, outcome = line.strip().partition(": ")
        if colon:
            yield name, outcome


def described(name: str) -> str:
    """One line for a mutant: where, what was there, what is there now."""
    function = re.sub(r"__mutmut_\d+$", "", name).replace("x_", "", 1)
    lines = _ask("show", name).splitlines()
    old = [line[1:].strip() for line in lines if re.match(r"-(?!--)", line)]
    new = [line[1:].strip() for line in lines if re.match(r"\+(?!\+\+)", line)]
    return f"{function} | {' '.join(old)} | {' '.join(new)}"


def _ask(*arguments: str) -> str:
    return subprocess.run([_MUTMUT, *arguments], check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Prints the survivors that are not listed; 1 if there are any, or if mutants were not tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.survivors")
    parser.add_argument("--write", action="store_true", help="make the list what this run has found")
    parser.add_argument("--only", default="", metavar="PACKAGE", help="what the run was about; else all")
    options = parser.parse_args()
    found = [each for each in outcomes() if each[0].startswith(options.only)]
    counts = Counter(outcome for _, outcome in found)
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "There was no run.")
    survivors = sorted({described(name) for name, outcome in found if outcome == "survived"})
    listed = _LIST.read_text().splitlines()
    known = {line for line in listed if line.startswith(options.only)}
    if options.write:
        kept = sorted({*survivors, *(set(listed) - known)})
        _LIST.write_text("".join(f"{line}\n" for line in kept))
        return 0
    new = [line for line in survivors if line not in known]
    for line in new:
        print(f"No test notices: {line}")
    for line in sorted(known - set(survivors)):
        print(f"Noticed by now, take it off the list: {line}")
    return 1 if new or not found or counts.keys() & _UNTRIED else 0


if __name__ == "__main__":
    sys.exit(main())
