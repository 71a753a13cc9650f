"""`python -m tests.locks`: what the locked requirements must keep to, whoever compiles them."""

import re
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent.parent / "requirements"
_PIN = re.compile(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)(?: ; ([^\\]+?))?(?= \\|$)")
_ADDRESS = re.compile(r"[a-z+]+://|--(extra-)?index-url|--find-links|--trusted-host|^-[if]\b")


def pins(path: Path) -> tuple[set[tuple[str, ...]], list[str]]:
    """What a lock pins (name, version, marker), and what is wrong with it."""
    found: set[tuple[str, ...]] = set()
    problems = []
    # A package with its hashes is one line, continued by backslashes.
    for line in path.read_text().replace("\\\n", "").splitlines():
        if _ADDRESS.search(line):
            problems.append(f"{path.name}: names a place to install from: {line[:80]}")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pin = _PIN.match(re.sub(r"\s+--hash=.*", "", line).strip())
        if pin is None:
            problems.append(f"{path.name}: no pinned package: {line[:80]}")
        else:
            found.add(tuple(part or "" for part in pin.groups()))
            if "--hash=sha256:" not in line:
                problems.append(f"{path.name}: {pin[1]} has no hash")
    if not found:
        problems.append(f"{path.name}: pins nothing")
    return found, problems


def main() -> int:
    """Prints what is wrong; 1 if anything is."""
    runtime, problems = pins(_FOLDER / "runtime.txt")
    dev, of_dev = pins(_FOLDER / "dev.txt")
    problems += of_dev
    # What runs is tested, and make relies on it: an install for tests serves `make up` as well.
    problems += [f"dev.txt: {' '.join(pin)} of runtime.txt is missing" for pin in sorted(runtime - dev)]
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
