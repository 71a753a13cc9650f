"""npm packages that Take One is tried against, beside the other environments. Their locks have version and
hash."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.conformance.environments import (
    FOLDER,
    REQUIREMENTS,
    NotThere,
    install_by,
    installing,
)

# By the names of the judges.
PACKAGES: Final = {"aimock": "@copilotkit/aimock", "openai-node": "openai"}
_OLDEST_NODE: Final = (20, 15)


def node() -> str:
    """Node's path. Raises NotThere."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise NotThere("node is not installed")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    version = tuple(int(part) for part in said.strip().removeprefix("v").split(".")[:2])
    if version < _OLDEST_NODE:
        raise NotThere(f"node is older than {'.'.join(map(str, _OLDEST_NODE))}: {said.strip()}")
    return found


def package(judge: str) -> Path:
    """The folder of the installed package; made anew if the lock changed. Raises NotInstalled, NotThere."""
    node()
    folder = FOLDER / judge
    files = REQUIREMENTS / f"conformance-{judge}"
    texts = b"".join((files / name).read_bytes() for name in ("package.json", "package-lock.json"))
    with installing(folder, texts) as wanted:
        if wanted:
            shutil.rmtree(folder / "node_modules", ignore_errors=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(files / name, folder)
            _npm(folder)
    return folder / "node_modules" / PACKAGES[judge]


def version(judge: str) -> str:
    """The version of the package, as it is installed."""
    return str(json.loads((package(judge) / "package.json").read_text())["version"])


def _npm(folder: Path) -> None:
    npm = shutil.which("npm")
    assert npm is not None
    install_by([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
