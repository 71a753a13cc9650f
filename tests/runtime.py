"""The interpreter of the processes under test: it has requirements/runtime.txt, and nothing else.

What the tests themselves need is not there, so a package that only they require is missed here as it would
be on a server. `python -m tests.runtime` installs it, if that is not done yet, and prints its path.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
LOCK = _ROOT / "requirements" / "runtime.txt"
_FOLDER = _ROOT / ".venv-runtime"
_INSTALL_SECONDS = 600


class NotInstalled(Exception):
    """The runtime lock cannot be installed; says why."""


@cache
def interpreter() -> str:
    """The path of its Python, of the same version as this one. Raises NotInstalled."""
    _FOLDER.mkdir(exist_ok=True)
    stamp = _FOLDER / "installed"
    wanted = f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {sys.version}"
    python = _FOLDER / "bin" / "python"
    # Of several pytest processes one installs, and the others wait for it.
    with (_ROOT / ".venv-runtime.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The stamp is written last, so an interrupted install is done again.
        if not (stamp.exists() and stamp.read_text() == wanted and python.exists()):
            _install(python)
            stamp.write_text(wanted)
    return str(python)


def environment(variables: dict[str, str]) -> dict[str, str]:
    """These variables for a process of that interpreter: no PYTHON… one leads to other packages."""
    kept = {name: value for name, value in variables.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    return kept | {"PATH": f"{_FOLDER / 'bin'}{os.pathsep}{variables.get('PATH', os.defpath)}"}


def _install(python: Path) -> None:
    hashes = ["--require-hashes", "-r", str(LOCK)]
    uv = [sys.executable, "-m", "uv", "--no-progress"]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--no-input"]
    ways = {
        "uv": [
            [*uv, "venv", "--clear", "--python", sys.executable, str(_FOLDER)],
            [*uv, "pip", "install", "--python", str(python), *hashes],
        ],
        # uv does not read pip's settings, and `make` installs by pip.
        "pip": [
            [sys.executable, "-m", "venv", "--clear", "--without-pip", str(_FOLDER)],
            [*pip, "install", "--quiet", *hashes],
        ],
    }
    told = []
    for name, commands in ways.items():
        for command in commands:
            done = subprocess.run(
                command,
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
            )
            if done.returncode:
                told.append(f"{name}: {done.stderr.strip()}")
                break
        else:
            return
    raise NotInstalled(f"{LOCK} cannot be installed into {_FOLDER}.\n" + "\n".join(told))


if __name__ == "__main__":
    try:
        print(interpreter())
    except NotInstalled as error:
        sys.exit(str(error))
