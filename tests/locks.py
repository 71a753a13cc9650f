"""`python -m tests.locks`: what the locked requirements must keep to, whoever compiles them."""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).resolve().parent.parent
_FOLDER = _ROOT / "requirements"
_PIN = re.compile(r"^([a-z0-9._-]+)(?:\[([^]]*)\])?==([^\s;\\]+)(?: ; ([^\\]+?))?(?= \\|$)")
_ADDRESS = re.compile(r"[a-z+]+://|--(extra-)?index-url|--find-links|--trusted-host|^-[if]\b")


def pins(path: Path) -> tuple[set[tuple[str, ...]], list[str]]:
    """What a lock pins (name, extras, version, marker), and what is wrong with it."""
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


def missing_extras(found: set[tuple[str, ...]]) -> list[str]:
    """The extras that an installed package, or pyproject.toml, asks of another and that no line pins.

    pip 23.2 takes such a package for unpinned as soon as a newer release of it exists.
    """
    pinned: dict[str, set[str]] = {}
    for name, extras, *_ in found:
        pinned.setdefault(name, set()).update(filter(None, extras.split(",")))
    asked = [("pyproject.toml", each) for each in _asked_by_the_project()]
    asked += [(name, each) for name, extras in pinned.items() for each in _asked_by(name, extras)]
    return sorted(
        f"{needed.name}[{','.join(sorted(needed.extras))}], which {name} needs, is not pinned with its extras"
        for name, needed in asked
        if canonicalize_name(needed.name) in pinned and needed.extras - pinned[canonicalize_name(needed.name)]
    )


def _asked_by(name: str, extras: set[str]) -> Iterator[Requirement]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return  # For another system or Python: its marker is false here.
    for each in map(Requirement, lines):
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield each


def _asked_by_the_project() -> Iterator[Requirement]:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    for lines in (project["dependencies"], *project["optional-dependencies"].values()):
        yield from map(Requirement, lines)


def main() -> int:
    """Prints what is wrong; 1 if anything is."""
    runtime, problems = pins(_FOLDER / "runtime.txt")
    dev, of_dev = pins(_FOLDER / "dev.txt")
    problems += of_dev
    # What runs is tested, and make relies on it: an install for tests serves `make up` as well.
    problems += [f"dev.txt: {' '.join(pin)} of runtime.txt is missing" for pin in sorted(runtime - dev)]
    problems += missing_extras(dev)
    for lock in sorted(_FOLDER.glob("conformance-*.txt")):
        problems += pins(lock)[1]
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
